"""Which of a session's data channels is the event channel."""

from __future__ import annotations

import asyncio
from enum import StrEnum
from typing import Protocol

from transceiver.transport.reasons import ChannelReason
from transceiver.transport.rtc import RTCDataChannel

CHANNEL_LABEL = "oai-events"
MAX_WAITING_CHANNELS = 4
GRACE_S = 1.0
"""How long a second channel may wait for the first one's end: a client that closes its channel and makes
another in one go may be heard in either order, and a lost stream reset is repeated after the RTO.
"""


class ChannelEvents(Protocol):
    """Whoever has `Channels`, as they see it."""

    def refuse(self, reason: StrEnum) -> None:
        """Something was dropped: a `ChannelReason`."""

    def event_channel_opened(self) -> None:
        """There is an event channel, or another one."""

    def message_received(self, text: str) -> None:
        """A message from the event channel, or from one that may yet become it."""


class _Nobody(ChannelEvents):
    """After the end."""

    def refuse(self, reason: StrEnum) -> None:
        pass

    def event_channel_opened(self) -> None:
        pass

    def message_received(self, text: str) -> None:
        pass


_NOBODY = _Nobody()


class Channels:
    """Which of a session's data channels is the event channel: the first, whatever its label, until it is
    closed or one of the right name comes. Others wait a little for its end, and are closed and counted.
    """

    def __init__(self, events: ChannelEvents) -> None:
        self._loop = asyncio.get_running_loop()
        self._events = events
        self._waiting: dict[RTCDataChannel, asyncio.TimerHandle] = {}
        self.current: RTCDataChannel | None = None

    def offer(self, channel: RTCDataChannel) -> None:
        """A channel has opened."""
        channel.on("message", self._message)
        channel.on("closing", lambda: self._gone(channel))
        channel.on("close", lambda: self._gone(channel))
        current = self.current
        if current is None:
            self._choose(channel)
        elif current.label != CHANNEL_LABEL == channel.label:
            self._choose(channel)
            self._let_wait(current)
        else:
            self._let_wait(channel)

    def close(self) -> None:
        """Choose no more, and let go of the owner. Idempotent."""
        for timer in self._waiting.values():
            timer.cancel()
        for channel in (*self._waiting, self.current):
            if channel is not None:
                channel.remove_all_listeners()
        self._waiting.clear()
        self.current = None
        self._events = _NOBODY

    def _choose(self, channel: RTCDataChannel) -> None:
        self.current = channel
        self._events.event_channel_opened()

    def _let_wait(self, channel: RTCDataChannel) -> None:
        if len(self._waiting) < MAX_WAITING_CHANNELS:
            self._waiting[channel] = self._loop.call_later(GRACE_S, self._dismiss, channel)
        else:
            self._dismiss(channel)

    def _dismiss(self, channel: RTCDataChannel) -> None:
        self._waiting.pop(channel, None)
        self._events.refuse(ChannelReason.OTHER_CHANNEL)
        channel.remove_all_listeners()
        channel.close()

    def _gone(self, channel: RTCDataChannel) -> None:
        timer = self._waiting.pop(channel, None)
        if timer is not None:
            timer.cancel()
        if channel is self.current:
            self.current = None
            following = next(iter(self._waiting), None)
            if following is not None:
                self._waiting.pop(following).cancel()
                self._choose(following)

    def _message(self, message: str | bytes) -> None:
        if isinstance(message, bytes):
            try:
                message = message.decode()
            except UnicodeDecodeError:
                self._events.refuse(ChannelReason.BINARY_MESSAGE)
                message = ""  # which is no event, and the client is told so
        self._events.message_received(message)

"""What stands behind a session: something that hears the caller, and answers.

A backend is driven by its session's 20 ms clock and never blocks. A backend that talks to another
process keeps bounded buffers of its own. All calls of one session come from one thread.
"""

from __future__ import annotations

from typing import Protocol

from transceiver.observer import Observer
from transceiver.realtime.event import EmitEvent, Event


class Backend(Protocol):
    """One session's counterpart."""

    def opened(self) -> None:
        """The client's event channel has opened, once; it expects `session.created` as first event."""

    def hear(self, pcm: bytes, now_ns: int) -> None:
        """20 ms of the caller: `media.FRAME_BYTES` of PCM, decoded or concealed. Called every 20 ms
        from the first received audio on, silence included.
        """

    def speak(self, now_ns: int) -> bytes | None:
        """20 ms for the caller, `media.FRAME_BYTES` of PCM; None when there is nothing to say."""

    def receive_event(self, event: Event) -> None:
        """An event of the client. What it does not understand is answered with an `error` event."""

    def close(self) -> None:
        """The session has ended; nothing is called after this."""


class BackendFactory(Protocol):
    """Makes the backend of one session."""

    def __call__(self, session_id: str, settings: Event, emit: EmitEvent, observer: Observer) -> Backend:
        """`settings` is the `session` object of the signaling request, possibly empty. `observer` is told
        of turns. Raises `core.errors.ConfigError` when a setting is not acceptable; the call is then
        refused with 400.
        """

"""Where the events of one session meet: those of the client's channel, of sidebands and of the backend.

    client's channel ──┐ what it may send                what it is shown ┌──▶ client's channel
                       ├────────────────▶ backend ──────▶────────────────┤
    sidebands ─────────┘ everything                            everything └──▶ sidebands

It does no I/O: events go in and come out, and what watches takes texts without waiting.
"""

from __future__ import annotations

import json
import weakref
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from typing import Final, Protocol, TypeVar

from core.bucket import TokenBucket
from core.errors import ConfigError
from transceiver.realtime.client_events import (
    NOT_AN_EVENT,
    TOO_MANY_EVENTS,
    EventStats,
    decode_event_untrusted,
)
from transceiver.realtime.event import Event
from transceiver.realtime.permissions import MEMBER, Permissions, take_permissions
from transceiver.realtime.server_events import shortened
from transceiver.session.api import REALTIME, ClientApi

T = TypeVar("T")

MAX_WATCHERS: Final = 8
CHARS_OF_ONE: Final = 16_384
"""Of an event that counts as one to its quota."""
_UPDATE: Final = "session.update"
_BARE: Final = ("id", "expires_at", "status", "model")
"""Members that a session object always has."""


class Watcher(Protocol):
    """A sideband, as a session sees it. It must not call back from either."""

    def show(self, text: str) -> bool:
        """Take an event to send; False when it has no room for one more, and is to be left behind."""

    def end(self) -> None:
        """Nothing comes any more; what was taken may still be sent."""


class Receiver(Protocol):
    """What of a backend has to do with events; see `Backend`."""

    def opened(self) -> None:
        """Somebody expects the session's first event."""

    def receive_event(self, event: Event) -> None:
        """An event of a client."""


class NotAllowedError(Exception):
    """An event that its sender may not send. `answer` is the `error` event for it, where it gets one."""

    def __init__(self, answer: Event | None) -> None:
        super().__init__("an event that its sender may not send")
        self.answer = answer


class EventHub:
    """Of one session, whose client speaks `api`."""

    def __init__(self, session_id: str, permissions: Permissions, api: ClientApi = REALTIME) -> None:
        self._api = api
        self.permissions = permissions
        """Of who is not trusted; a sideband may change them."""
        self.stats = EventStats()
        """What clients sent, over channel and sidebands, and what went out by the channel."""
        self.backend: Receiver | None = None
        """None before there is one, and once the session is over."""
        self._suffix = session_id.partition("_")[2]
        self._numbers = count(1)
        self._watchers: dict[Watcher, bool] = {}
        """With whether each is trusted."""
        self._state: Event | None = None
        self._bucket: TokenBucket | None = None
        self._has_said_limit = False
        self._refused: Callable[[], None] | None = None

    def limit(self, bucket: TokenBucket, refused: Callable[[], None]) -> None:
        """Take no more events than that has tokens; `refused` is told of each."""
        self._bucket, self._refused = bucket, refused

    def refill(self, now_ns: int) -> None:
        """Time has passed. Wants to be called now and then: there is no clock here."""
        if self._bucket is not None:
            self._bucket.refill(now_ns)
            self._has_said_limit = False

    # From the backend

    def publish(self, event: Event) -> str:
        """Show an event to all sidebands that may see it; its text, for the channel."""
        text = encode(event)
        if event.get("type") in self._api.states:
            self._state = event
        is_shown = self.permissions.shows(event)
        for watcher, is_trusted in list(self._watchers.items()):
            if (is_trusted or is_shown) and not watcher.show(text):
                self.detach(watcher)
        return text

    # From clients

    def receive_untrusted(self, text: str, *, is_trusted: bool) -> Event | None:
        """Give the backend what is in a message; the `error` event for one that it does not get."""
        if self.backend is None:
            return None
        try:
            self.backend.receive_event(self.take_untrusted(text, is_trusted=is_trusted))
        except NotAllowedError as error:
            return error.answer
        return None

    def take_untrusted(self, text: str, *, is_trusted: bool) -> Event:
        """The event in a message, as it is for the backend; counted. Raises NotAllowedError."""
        self._charge(len(text))
        event = decode_event_untrusted(text)
        if event is None:
            self.stats.invalid += 1
            raise NotAllowedError(self.word(NOT_AN_EVENT))
        try:
            taken = self._judge(event, is_trusted=is_trusted)
        except NotAllowedError:
            self.stats.refused += 1
            raise
        self.stats.received += 1
        return taken

    def _charge(self, chars: int) -> None:
        """A long event is as many as its length would make of short ones: that is what it costs to read."""
        if self._bucket is None or self._bucket.take(1 + chars // CHARS_OF_ONE):
            return
        self.stats.limited += 1
        if self._refused is not None:
            self._refused()
        is_told, self._has_said_limit = self._has_said_limit, True
        raise NotAllowedError(None if is_told else self.word(TOO_MANY_EVENTS))

    def _judge(self, event: Event, *, is_trusted: bool) -> Event:
        if not is_trusted and not self.permissions.lets(event):
            raise self._objection(event, f"This client may not send {shortened(event['type'])}.")
        session = event.get("session")
        if self._api.has_fixed_permissions or event["type"] != _UPDATE:
            return event
        if not isinstance(session, Mapping) or MEMBER not in session:
            return event
        if not is_trusted:
            raise self._objection(event, f"This client may not set session.{MEMBER}.")
        try:
            rest, self.permissions = take_permissions(session, self.permissions)
        except ConfigError as error:
            raise self._objection(event, "; ".join(error.problems), "invalid_value") from None
        return {**event, "session": rest}

    def _objection(self, event: Event, message: str, code: str = "event_not_allowed") -> NotAllowedError:
        error = {
            "type": "invalid_request_error",
            "code": code,
            "message": message,
            "param": None,
            "event_id": shortened(event.get("event_id")),
        }
        return NotAllowedError(self.word({"type": "error", "error": error}))

    def word(self, error: Event) -> Event:
        """An `error` of the Realtime API's, as the client's API has it."""
        return self._api.word(error, f"event_{self._suffix}_hub{next(self._numbers)}")

    # Sidebands

    @property
    def has_room(self) -> bool:
        """Whether another may watch."""
        return len(self._watchers) < MAX_WATCHERS

    @property
    def is_watched(self) -> bool:
        """Whether any does."""
        return bool(self._watchers)

    @property
    def wants_audio(self) -> bool:
        """Whether any does that may have the audio; see `Audience` of `transceiver.live`."""
        return any(self._watchers.values())

    def reflect(self, event: Event) -> None:
        """Show what is for those alone."""
        text = encode(event)
        for watcher, is_trusted in list(self._watchers.items()):
            if is_trusted and not watcher.show(text):
                self.detach(watcher)

    def attach(self, watcher: Watcher, *, is_trusted: bool) -> bool:
        """Show all events to one more, or those that the client may see, from the session's first on, which
        has it as it is by now. False where there are too many, or the session is over.
        """
        if self.backend is None or not self.has_room:
            return False
        self._watchers[watcher] = is_trusted
        if self._state is None:
            self.backend.opened()
            return True
        created = {key: value for key, value in self._state.items() if key != "client_event_id"}
        created["type"] = self._api.opening
        if is_trusted or self.permissions.shows(created):
            watcher.show(encode(created))
        return True

    def hear_untrusted(self, text: str, watcher: Watcher) -> None:
        """A message of one that watches, which alone is told what is wrong with it."""
        refusal = self.receive_untrusted(text, is_trusted=self._watchers.get(watcher, False))
        if refusal is not None:
            self.tell(watcher, refusal)

    def tell(self, watcher: Watcher, event: Event) -> None:
        """What concerns that one alone."""
        if not watcher.show(encode(event)):
            self.detach(watcher)

    def detach(self, watcher: Watcher) -> None:
        """It watches no more. Idempotent."""
        self._watchers.pop(watcher, None)

    def last_word(self, event: Event, *, is_trusted: bool) -> Event:
        """One of the last words as it is for somebody. All are told of the end; but who may not see an event
        does not get by its end what the session was told, instructions above all.
        """
        session = event.get("session")
        if is_trusted or self.permissions.shows(event) or not isinstance(session, Mapping):
            return event
        return {**event, "session": {key: session[key] for key in _BARE if key in session}}

    def close(self, last_words: Sequence[Event]) -> None:
        """The session is over; `last_words` say why, where there is something to say."""
        self.backend = None
        for watcher, is_trusted in self._watchers.items():
            for event in last_words:
                watcher.show(encode(self.last_word(event, is_trusted=is_trusted)))
            watcher.end()
        self._watchers.clear()


def weakly(take: Callable[[T], object]) -> Callable[[T], None]:
    """A method as one that does not keep its object, and does nothing once that is gone."""
    method = weakref.WeakMethod(take)

    def call(value: T) -> None:
        alive = method()
        if alive is not None:
            alive(value)

    return call


def encode(event: Event) -> str:
    """As it is on the wire."""
    return json.dumps(event, separators=(",", ":"))

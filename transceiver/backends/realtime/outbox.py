"""Events for the backend, and who asked for them: an error must come back to the client under its own id."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from itertools import count
from typing import Final, NamedTuple

from transceiver.realtime.event import Event
from transceiver.realtime.server_events import shortened

MAX_REMEMBERED: Final = 256
"""Events whose errors find back; the oldest is forgotten first. Backends answer within seconds."""


class Asked(NamedTuple):
    """An event that was sent. Not the event itself, which a client may have made long: these are kept."""

    kind: str
    is_ours: bool
    """The bridge has sent it by itself."""
    client_id: str | None = None
    """What the client calls it, short enough to repeat."""


def _nowhere(_: Event) -> None:
    """Where events of an ended session go."""


def _as_it_is(event: Event) -> Event:
    """Both sides use the same ids."""
    return event


class Outbox:
    """Numbers what goes to the backend; `send` takes it further. Ids of clients may repeat, so the backend
    sees ours. `translate` has a client's event in the backend's ids of items.
    """

    def __init__(
        self, send: Callable[[Event], None], translate: Callable[[Event], Event] = _as_it_is
    ) -> None:
        self._send = send
        self._translate = translate
        self._counts = count(1)
        self._asked: OrderedDict[str, Asked] = OrderedDict()

    def send(self, kind: str, /, **members: object) -> str:
        """An event of the bridge's own. Its id."""
        return self._number({"type": kind, **members}, Asked(kind, is_ours=True))

    def pass_on(self, event: Event, /, **changed: object) -> str:
        """A client's event, with some members changed. Its id towards the backend."""
        asked = Asked(str(event["type"]), is_ours=False, client_id=shortened(event.get("event_id")))
        return self._number({**self._translate(event), **changed}, asked)

    def send_audio(self, audio: str) -> None:
        """20 ms of the caller or so. Without an id: nobody would ask for it."""
        if audio:
            self._send({"type": "input_audio_buffer.append", "audio": audio})

    def pop_untrusted(self, event_id: object) -> Asked | None:
        """What was sent under an id; None for ids that nobody has any more."""
        return self._asked.pop(event_id, None) if isinstance(event_id, str) else None

    def close(self) -> None:
        """Send nothing more, and hold nobody who could."""
        self.clear()
        self._send = _nowhere

    def clear(self) -> None:
        """The backend that knew these ids is gone."""
        self._asked.clear()

    def _number(self, event: Event, asked: Asked) -> str:
        event_id = f"vox_{next(self._counts)}"
        self._asked[event_id] = asked
        if len(self._asked) > MAX_REMEMBERED:
            self._asked.popitem(last=False)
        self._send({**event, "event_id": event_id})
        return event_id

"""A client of the server, as the session behind it sees it: told of events, spoken to, and known by its
settings.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from core.errors import ConfigError
from transceiver.backends.server.audio import BYTES_PER_SAMPLE, Voice
from transceiver.media import SAMPLE_RATE
from transceiver.realtime.event import EmitEvent, Event
from transceiver.realtime.items import MAX_ITEMS, Conversation
from transceiver.realtime.server_events import EventChannel
from transceiver.realtime.settings import DEFAULTS, SessionSettings, audio_side

BYTES_PER_MS = SAMPLE_RATE * BYTES_PER_SAMPLE // 1000


class AudioPart(NamedTuple):
    """The content part that speech belongs to."""

    response_id: str
    item_id: str
    output_index: int = 0
    content_index: int = 0

    def members(self) -> dict[str, object]:
        """As events have them."""
        return dict(self._asdict())


@dataclass(slots=True)
class Spoken:
    """What a client was sent of one item's speech."""

    content_index: int
    sent: int = 0
    """Bytes of our PCM."""

    @property
    def duration_ms(self) -> int:
        """Whole milliseconds."""
        return self.sent // BYTES_PER_MS

    def truncate(self, duration_ms: int) -> None:
        """Only so much of it was heard."""
        self.sent = duration_ms * BYTES_PER_MS


async def _at_once() -> None:
    """Nobody is slow."""


def _not_measured(_: str, __: float) -> None:
    """Nobody counts."""


class Client:
    """One connection's other end. `emit` takes events towards it, `is_slow` says whether it has yet to read
    many of those, and `drained` waits until that is over.
    """

    def __init__(
        self,
        session_id: str,
        model: str,
        emit: EmitEvent,
        is_slow: Callable[[], bool],
        drained: Callable[[], Awaitable[None]] = _at_once,
    ) -> None:
        self.session_id = session_id
        self.conversation = Conversation()
        self.settings: SessionSettings = DEFAULTS.updated({"model": model})
        self.is_slow = is_slow
        self.drained = drained
        self.took: Callable[[str, float], None] = _not_measured
        """Told what each stage of an answer took, in seconds."""
        self._emit = emit
        self._channel = EventChannel(session_id.partition("_")[2], self.forward)
        self._channel.is_open = True
        self._spoken: OrderedDict[str, Spoken] = OrderedDict()
        self._order: list[str] = []
        self._voice: tuple[AudioPart, Voice] | None = None

    def new_id(self, prefix: str) -> str:
        """An id that no other object of this session has, nor of another session."""
        return self._channel.new_id(prefix)

    def send(self, kind: str, /, **members: object) -> None:
        """One event, with an id of its own."""
        self._channel.send(kind, **members)

    def refuse(self, cause: Event, code: str, message: str, param: str | None = None) -> None:
        """An `error` that names the client's event by the id that it gave, if any."""
        self._channel.refuse(cause, code, message, param)

    def refuse_settings(self, cause: Event, error: ConfigError) -> None:
        """An `error` for a `session.update` that cannot be followed; `param` is the first member at fault."""
        self._channel.refuse_settings(cause, error)

    def forward(self, event: Event) -> None:
        """One event that has its id already. Items are told with the one before them in the conversation."""
        kind, item = event.get("type"), event.get("item")
        item_id = item.get("id") if isinstance(item, Mapping) else None
        if kind == "input_audio_buffer.committed":
            event = {**event, "previous_item_id": self._order[-1] if self._order else None}
        elif kind == "conversation.item.deleted" and event.get("item_id") in self._order:
            self._order.remove(str(event["item_id"]))
        elif kind in ("conversation.item.added", "conversation.item.done") and isinstance(item_id, str):
            if kind == "conversation.item.added" and item_id not in self._order:
                self.place(item_id, None)
            event = {**event, "previous_item_id": self._previous(item_id)}
        elif kind == "response.output_audio.done":
            self._end_speech()
        self.conversation.learn_untrusted(event)
        self._emit(event)

    def has_place(self, item_id: object) -> bool:
        """Whether another item can be put after this one."""
        return item_id in self._order

    def place(self, item_id: str, previous: str | None) -> None:
        """Where an item that will be added belongs: after another, first of all ("root"), or last (None)."""
        if len(self._order) == MAX_ITEMS:
            del self._order[0]
        if previous is None:
            self._order.append(item_id)
        else:
            self._order.insert(self._order.index(previous) + 1 if previous in self._order else 0, item_id)

    def _previous(self, item_id: str) -> str | None:
        at = self._order.index(item_id) if item_id in self._order else 0
        return self._order[at - 1] if at else None

    # Speech

    def speak(self, part: AudioPart, pcm: bytes) -> None:
        """Speech of a part, at once: clients pace what they play. `pcm` may have any length."""
        if self._voice is None or self._voice[0] != part:
            self._end_speech()
            self._voice = (part, Voice(str(self._format("output"))))
        spoken = self._spoken.setdefault(part.item_id, Spoken(part.content_index))
        spoken.sent += len(pcm)
        if len(self._spoken) > MAX_ITEMS:
            self._spoken.popitem(last=False)
        self._send_delta(part, self._voice[1].encode(pcm))

    def spoken(self, item_id: str) -> Spoken | None:
        """What was spoken of an item; None where that was nothing, or long ago."""
        return self._spoken.get(item_id)

    def input_format(self) -> str:
        """`type` of the audio that the client appends."""
        return str(self._format("input"))

    def _format(self, side: str) -> object:
        kind = audio_side(self.settings.members, side).get("format")
        return kind.get("type") if isinstance(kind, Mapping) else None

    def _end_speech(self) -> None:
        if self._voice is not None:
            part, voice = self._voice
            self._voice = None
            self._send_delta(part, voice.flush())

    def _send_delta(self, part: AudioPart, delta: str) -> None:
        if delta:
            self.send("response.output_audio.delta", **part.members(), delta=delta)

"""Transcripts on the time line of a session. Sans-IO.

GPT-Live has one time line, in milliseconds from the beginning of the session, and fragments of text with
their place on it. The Realtime protocol has items and responses: what was said when has to be put together
from the events around a text, unless the backend writes `start_ms` and `end_ms` itself.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeVar

from transceiver.realtime.event import Event

MAX_KEPT: Final = 64
"""Items of the caller, and responses, of which something may still be said."""
MAX_WAIT_MS: Final = 1_000
"""That the backend's words wait for those of the caller that they answer."""
MAX_HELD: Final = 256
"""Fragments of a response that is not heard yet."""
NS_PER_MS: Final = 1_000_000
V = TypeVar("V")


class Fragment(NamedTuple):
    """Text, and where it stands: milliseconds on the time line."""

    text: str
    start_ms: int
    end_ms: int


class TimeLine:
    """Where a session is. It begins with its first tick; a backend counts from the first frame it hears."""

    def __init__(self) -> None:
        self._began_ns: int | None = None
        self._now_ns = 0
        self._heard_ms: int | None = None

    def tick(self, now_ns: int) -> None:
        """Time has gone on. `now_ns` is monotonic."""
        if self._began_ns is None:
            self._began_ns = now_ns
        self._now_ns = now_ns

    def hear(self, now_ns: int) -> None:
        """A frame of the caller has come."""
        self.tick(now_ns)
        if self._heard_ms is None:
            self._heard_ms = self.now_ms

    @property
    def now_ms(self) -> int:
        """As of the last tick; 0 before there was one."""
        return 0 if self._began_ns is None else (self._now_ns - self._began_ns) // NS_PER_MS

    def of_backend(self, ms: int) -> int:
        """What a backend counts from the first frame that it hears, on the time line."""
        return (self._heard_ms or 0) + ms


@dataclass(slots=True)
class Span:
    """When the caller has said something; without an end, it is still being said."""

    start_ms: int
    end_ms: int | None = None
    has_text: bool = False
    """Or it is known that there will be none."""


@dataclass(slots=True)
class Speech:
    """A response of the backend."""

    end_ms: int | None = None
    """Up to where its text has come; None before it is heard."""
    has_text: bool = False
    held: deque[str] = field(default_factory=lambda: deque(maxlen=MAX_HELD))


class CallerTranscripts:
    """What the caller says."""

    def __init__(self, line: TimeLine) -> None:
        self._line = line
        self._last = Span(0, 0, has_text=True)
        self._spans: OrderedDict[str, Span] = OrderedDict()
        self._has_written = False

    @property
    def is_due(self) -> bool:
        """Whether words of the caller's last turn are about to come: it is over, this backend writes what it
        hears, and there was no time to. Clients take fragments in the order of their beginnings.
        """
        if not self._has_written or self._last.has_text or self._last.end_ms is None:
            return False
        return self._line.now_ms - self._last.end_ms < MAX_WAIT_MS

    def started_untrusted(self, event: Event) -> None:
        """`input_audio_buffer.speech_started`."""
        start = _whole(event.get("audio_start_ms"))
        self._last = Span(self._line.now_ms if start is None else self._line.of_backend(start))
        self._name(event)

    def stopped_untrusted(self, event: Event) -> None:
        """`input_audio_buffer.speech_stopped`."""
        own = event.get("voxpop")
        end = _whole(own.get("speech_end_ms")) if isinstance(own, dict) else None
        end = _whole(event.get("audio_end_ms")) if end is None else end
        end_ms = self._line.now_ms if end is None else self._line.of_backend(end)
        self._last.end_ms = max(self._last.start_ms, end_ms)

    def committed_untrusted(self, event: Event) -> None:
        """`input_audio_buffer.committed`, where a turn gets the name that its backend gives it."""
        self._name(event)

    def _name(self, event: Event) -> None:
        item_id = event.get("item_id")
        if isinstance(item_id, str) and item_id not in self._spans:
            _keep(self._spans, item_id, self._last)

    def delta_untrusted(self, event: Event) -> Fragment | None:
        """`conversation.item.input_audio_transcription.delta`."""
        return self._written(event, event.get("delta"), self._span(event))

    def completed_untrusted(self, event: Event) -> Fragment | None:
        """`….completed`: all of it, where nothing of it has come before."""
        span = self._span(event)
        if span.has_text:
            return None
        span.has_text = True
        return self._written(event, event.get("transcript"), span)

    def failed_untrusted(self, event: Event) -> None:
        """`….failed`: no words come."""
        self._span(event).has_text = True

    def _written(self, event: Event, text: object, span: Span) -> Fragment | None:
        if not isinstance(text, str) or not text:
            return None
        span.has_text = self._has_written = True
        return _timed(event, text, self._line) or self._placed(text, span)

    def _span(self, event: Event) -> Span:
        item_id = event.get("item_id")
        found = self._spans.get(item_id) if isinstance(item_id, str) else None
        if found is None:
            found = Span(self._line.now_ms, self._line.now_ms)
            if isinstance(item_id, str):
                _keep(self._spans, item_id, found)
        return found

    def _placed(self, text: str, span: Span) -> Fragment:
        end_ms = self._line.now_ms if span.end_ms is None else span.end_ms
        return Fragment(text, span.start_ms, max(span.start_ms, end_ms))


class BackendTranscripts:
    """What the backend says. Text comes sooner than its audio: it is held until the caller hears the first of
    its response, and forgotten where that never comes.
    """

    def __init__(self, line: TimeLine) -> None:
        self._line = line
        self._speeches: OrderedDict[str, Speech] = OrderedDict()

    def created_untrusted(self, event: Event) -> None:
        """`response.created`."""
        response = event.get("response")
        response_id = response.get("id") if isinstance(response, dict) else None
        if isinstance(response_id, str) and response_id not in self._speeches:
            _keep(self._speeches, response_id, Speech())

    def started_untrusted(self, event: Event) -> list[Fragment]:
        """`output_audio_buffer.started`: what was held."""
        speech = self._speech(event)
        if speech is None:
            return []
        speech.end_ms = self._line.now_ms
        held = [Fragment(text, speech.end_ms, speech.end_ms) for text in speech.held]
        speech.held.clear()
        return held

    def cleared_untrusted(self, event: Event) -> None:
        """`output_audio_buffer.cleared`: what was not heard yet will not be."""
        speech = self._speech(event)
        if speech is not None:
            speech.held.clear()

    def delta_untrusted(self, event: Event) -> Fragment | None:
        """`response.output_audio_transcript.delta`."""
        return self._said_untrusted(event, event.get("delta"))

    def done_untrusted(self, event: Event) -> Fragment | None:
        """`response.output_audio_transcript.done`: all of it, where nothing of it has come before."""
        speech = self._speech(event)
        if speech is not None and not speech.has_text:
            return self._said_untrusted(event, event.get("transcript"))
        return None

    def _said_untrusted(self, event: Event, text: object) -> Fragment | None:
        if not isinstance(text, str) or not text:
            return None
        speech = self._speech(event)
        if speech is not None:
            speech.has_text = True
        timed = _timed(event, text, self._line)
        if timed is not None:
            return timed
        if speech is None:
            return Fragment(text, self._line.now_ms, self._line.now_ms)
        if speech.end_ms is None:
            speech.held.append(text)
            return None
        start_ms, speech.end_ms = speech.end_ms, self._line.now_ms
        return Fragment(text, start_ms, speech.end_ms)

    def _speech(self, event: Event) -> Speech | None:
        response_id = event.get("response_id")
        return self._speeches.get(response_id) if isinstance(response_id, str) else None


def _timed(event: Event, text: str, line: TimeLine) -> Fragment | None:
    """Where the backend itself says when; it counts from the first frame that it hears."""
    start, end = _whole(event.get("start_ms")), _whole(event.get("end_ms"))
    if start is None or end is None or end < start:
        return None
    return Fragment(text, line.of_backend(start), line.of_backend(end))


def _whole(value: object) -> int | None:
    """Milliseconds, of less than the year that no session lasts."""
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return value if is_number and 0 <= value < 1 << 35 else None  # type: ignore[operator, return-value]


def _keep(of: OrderedDict[str, V], key: str, value: V) -> None:
    of[key] = value
    if len(of) > MAX_KEPT:
        of.popitem(last=False)

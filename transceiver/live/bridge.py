"""One GPT-Live session before a backend of the Realtime protocol: who is told what. Sans-IO.

To its session this is a `Backend`, whose events are GPT-Live's; to the backend behind it, it is a client of
the Realtime protocol. docs/live.md has the rules, event by event.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Final, NamedTuple, Protocol

from core.errors import ConfigError
from transceiver.live.events import APPENDS, CLOSED_BY, LOST, NOT_SUPPORTED, error_event
from transceiver.live.reflection import Audience, Reflection
from transceiver.live.settings import LiveSettings, text_item
from transceiver.live.transcripts import (
    MAX_HELD,
    BackendTranscripts,
    CallerTranscripts,
    Fragment,
    TimeLine,
)
from transceiver.media import FRAME_BYTES
from transceiver.observer import EndReason
from transceiver.realtime.event import EmitEvent, Event
from transceiver.realtime.permissions import EVERYTHING
from transceiver.realtime.server_events import shortened
from transceiver.realtime.settings import audio_side

MAX_ASKED: Final = 64
"""Events for the backend that it may still answer, for each of which a client waits."""
SILENCE: Final = bytes(FRAME_BYTES)
HISTORY: Final = "session.input"
ASKED_AS: Final = {
    "session.thinking.append": "For you alone; do not say this aloud: ",
    "session.commentary.append": "Tell the user now, in your own words: ",
}
"""What stands before a text, where a Realtime message alone does not say what it is for."""


class Behind(Protocol):
    """The backend of the session; see `transceiver.backends.base.Backend`, of which this is a copy from
    below.
    """

    def opened(self) -> None:
        """Somebody expects `session.created`."""

    def hear(self, pcm: bytes, now_ns: int) -> None:
        """20 ms of the caller."""

    def speak(self, now_ns: int) -> bytes | None:
        """20 ms for the caller."""

    def receive_event(self, event: Event) -> None:
        """An event of its client."""

    def close(self) -> None:
        """The session has ended."""


@dataclass(frozen=True, slots=True)
class LiveContext:
    """What the session gives. Nothing of it may keep the session."""

    session_id: str
    settings: LiveSettings
    expires_s: int
    """Unix time at which the session ends at the latest."""
    emit: EmitEvent
    """To channel and sidebands."""
    tell_channel: EmitEvent
    audience: Audience
    end: Callable[[EndReason], None]


class Asked(NamedTuple):
    """What the backend was asked for: for which event of a client's, and by what name that may hear of it."""

    kind: str
    client_event_id: str | None


class LiveBridge:
    """`backend` is set right after; it emits into `receive_server_event_untrusted`."""

    def __init__(self, context: LiveContext) -> None:
        self.backend: Behind | None = None
        self._context = context
        self._settings = context.settings
        self._numbers = count(1)
        self._suffix = context.session_id.partition("_")[2]
        self._line = TimeLine()
        self._caller = CallerTranscripts(self._line)
        self._voice = BackendTranscripts(self._line)
        self._unwritten: deque[Fragment] = deque()
        """What the backend has said, while the caller's words before it are still to come."""
        self._reflection = Reflection(context.audience, self._line)
        self._asked: OrderedDict[str, Asked] = OrderedDict()
        """By the `event_id` that it has towards the backend."""
        self._items: OrderedDict[str, Asked] = OrderedDict()
        """Messages that the backend has still to take, by their ids."""
        self._is_muted = False
        self._has_started = False
        self._closing_id: str | None = None
        self._given: dict[str, object] = {}
        """Members of the session that the backend has where the client has given none."""

    # The session's clock

    def opened(self) -> None:
        """Somebody expects `session.started`, which comes with the backend's first word."""
        if self.backend is not None:
            self.backend.opened()

    def hear(self, pcm: bytes, now_ns: int) -> None:
        """20 ms of the caller."""
        self._line.hear(now_ns)
        self._reflection.hear(pcm)
        if self.backend is not None:
            self.backend.hear(SILENCE if self._is_muted else pcm, now_ns)

    def speak(self, now_ns: int) -> bytes | None:
        """20 ms for the caller."""
        self._line.tick(now_ns)
        pcm = None if self.backend is None else self.backend.speak(now_ns)
        self._reflection.speak(pcm)
        if self._unwritten:
            self._write_answer()
        return pcm

    def closed(self, reason: str) -> Event:
        """`session.closed`, for a session that ends by that `EndReason`. What is still to be written or
        reflected comes before it.
        """
        self._reflection.close()
        self._write_answer(is_last=True)
        return self._event(
            "session.closed",
            self._closing_id,
            reason=CLOSED_BY.get(reason, LOST),
            session=self._resource(),
            usage={"seconds": self._line.now_ms // 1000},
        )

    def close(self) -> None:
        """The session has ended."""
        backend, self.backend = self.backend, None
        if backend is not None:
            backend.close()

    # The client's events

    def receive_event(self, event: Event) -> None:
        """Do what the client asks for, or have it done, or say who cannot."""
        kind = str(event.get("type"))
        if kind in APPENDS:
            self._append(kind, event)
        elif kind == "session.input_audio.mute":
            self._is_muted = True
            self._acknowledge("session.input_audio.muted", event)
        elif kind == "session.input_audio.unmute":
            self._is_muted = False
            self._acknowledge("session.input_audio.unmuted", event)
        elif kind == "session.update":
            self._update(event)
        elif kind == "session.close":
            self._closing_id = _id_of(event)
            self._context.end(EndReason.HANGUP)
        elif kind in NOT_SUPPORTED:
            code, why = NOT_SUPPORTED[kind]
            self._refuse(event, code, f"{kind} is not for this session. {why}", "type")
        else:
            self._refuse(
                event, "unknown_event", f"There is no event {shortened(kind)!r} for a client.", "type"
            )

    def _update(self, event: Event) -> None:
        try:
            self._settings = self._settings.updated(event.get("session"))
        except ConfigError as error:
            param = error.problems[0].split(maxsplit=1)[0]
            self._refuse(event, "invalid_value", "; ".join(error.problems), param)
        else:
            self._acknowledge("session.updated", event, session=self._resource())

    def _append(self, kind: str, event: Event) -> None:
        """A message of the conversation."""
        content = event.get("content")
        if not isinstance(content, str) or not content.strip():
            self._refuse(event, "invalid_value", "content must be text.", "content")
        elif event.get("delegation_id") is not None:
            self._refuse(event, "unknown_delegation", "Nothing was delegated.", "delegation_id")
        else:
            text = ASKED_AS.get(kind, "") + content
            self._add(Asked(kind, _id_of(event)), text_item("system", text))

    def _add(self, asked: Asked, item: dict[str, object]) -> None:
        """Put an item into the conversation, under an id of ours by which it is known when it is there."""
        item_id = f"item_live{next(self._numbers)}"
        _push(self._items, item_id, asked)
        self._ask(asked, "conversation.item.create", item={"id": item_id, **item})

    def _ask(self, asked: Asked, kind: str, **members: object) -> None:
        event_id = self._new_id("live")
        _push(self._asked, event_id, asked)
        if self.backend is not None:
            self.backend.receive_event({"type": kind, "event_id": event_id, **members})

    # The backend's events

    def receive_server_event_untrusted(self, event: Event) -> None:
        """Make of it what GPT-Live has a word for. Takes any event in any order."""
        match event.get("type"):
            case "session.created":
                self._started_untrusted(event)
            case "error":
                self._error_untrusted(event.get("error"))
            case "conversation.item.added" | "conversation.item.created" | "conversation.item.done":
                self._taken_untrusted(event.get("item"))
            case "response.done":
                self._done_untrusted(event.get("response"))
            case "conversation.item.input_audio_transcription.failed":
                self._caller.failed_untrusted(event)
                self._error_untrusted(event.get("error"))
            case kind:
                self._transcript_untrusted(kind, event)

    def _started_untrusted(self, event: Event) -> None:
        session = event.get("session")
        if isinstance(session, Mapping):
            voice, instructions = audio_side(session, "output").get("voice"), session.get("instructions")
            self._given = {
                **({} if voice is None else {"audio": {"output": {"voice": voice}}}),
                **({"instructions": instructions} if instructions else {}),
            }
        self._send("session.started", session=self._resource())
        if self._settings.permissions != EVERYTHING:
            message = self._settings.permissions.describe()
            self._context.tell_channel(self._event("info", code="data_channel_permissions", message=message))
        if not self._has_started:
            self._has_started = True
            for item in self._settings.history():
                self._add(Asked(HISTORY, None), item)

    def _taken_untrusted(self, item: object) -> None:
        """An item is in the conversation: if it is one of ours, a client waits for just that. What is to be
        said takes a response as well, and not before: a backend that does not take the text would say
        something else.
        """
        item_id = item.get("id") if isinstance(item, Mapping) else None
        asked = self._items.pop(item_id, None) if isinstance(item_id, str) else None
        if asked is not None and asked.kind in APPENDS:
            now_ms = self._line.now_ms
            self._send(APPENDS[asked.kind], asked.client_event_id, start_ms=now_ms, end_ms=now_ms)
            if asked.kind == "session.commentary.append":
                self._ask(asked, "response.create")

    def _done_untrusted(self, response: object) -> None:
        """A response that has failed would not be noticed otherwise: nothing else tells of responses here."""
        if isinstance(response, Mapping) and response.get("status") == "failed":
            details = response.get("status_details")
            error = details.get("error") if isinstance(details, Mapping) else None
            failed = {"code": "response_failed", "message": "What was to be said could not be."}
            self._error_untrusted({**failed, **error} if isinstance(error, Mapping) else failed)

    def _error_untrusted(self, error: object) -> None:
        """Told to all; with the name of the client's event, if it is about one."""
        members = error if isinstance(error, Mapping) else {}
        event_id = members.get("event_id")
        asked = self._asked.pop(event_id, None) if isinstance(event_id, str) else None
        if asked is None:
            self._context.emit(error_event(self._new_id("event"), {**members, "param": None}))
            return
        message = members.get("message")
        told = f"The backend does not take {asked.kind}: {message if isinstance(message, str) else ''}"
        named = {**members, "message": told, "param": HISTORY if asked.kind == HISTORY else "type"}
        self._context.emit(error_event(self._new_id("event"), named, asked.client_event_id))

    def _transcript_untrusted(self, kind: object, event: Event) -> None:
        fragment: Fragment | None = None
        match kind:
            case "input_audio_buffer.speech_started":
                self._caller.started_untrusted(event)
            case "input_audio_buffer.speech_stopped":
                self._caller.stopped_untrusted(event)
            case "input_audio_buffer.committed":
                self._caller.committed_untrusted(event)
            case "conversation.item.input_audio_transcription.delta":
                fragment = self._caller.delta_untrusted(event)
            case "conversation.item.input_audio_transcription.completed":
                fragment = self._caller.completed_untrusted(event)
            case _:
                self._voice_untrusted(kind, event)
        if fragment is not None:
            self._write("session.input_transcript.delta", fragment)
        self._write_answer()

    def _voice_untrusted(self, kind: object, event: Event) -> None:
        fragment: Fragment | None = None
        match kind:
            case "response.created":
                self._voice.created_untrusted(event)
            case "output_audio_buffer.started":
                self._unwritten += self._voice.started_untrusted(event)
            case "output_audio_buffer.cleared":
                self._voice.cleared_untrusted(event)
            case "response.output_audio_transcript.delta":
                fragment = self._voice.delta_untrusted(event)
            case "response.output_audio_transcript.done":
                fragment = self._voice.done_untrusted(event)
        if fragment is not None:
            self._unwritten.append(fragment)

    def _write_answer(self, *, is_last: bool = False) -> None:
        """The backend's words, unless those of the caller that they answer are about to come."""
        if self._caller.is_due and len(self._unwritten) < MAX_HELD and not is_last:
            return
        while self._unwritten:
            self._write("session.output_transcript.delta", self._unwritten.popleft())

    def _write(self, kind: str, fragment: Fragment) -> None:
        self._send(kind, delta=fragment.text, start_ms=fragment.start_ms, end_ms=fragment.end_ms)

    # What the client is told

    def _resource(self) -> dict[str, object]:
        """`SessionResource` of the API: what is in force. What the client has not said, the backend has."""
        return {
            "id": self._context.session_id,
            "expires_at": self._context.expires_s,
            "status": "active",
            **self._given,
            **self._settings.resource(),
        }

    def _acknowledge(self, kind: str, cause: Event, **members: object) -> None:
        self._send(kind, _id_of(cause), **members)

    def _send(self, kind: str, client_event_id: str | None = None, **members: object) -> None:
        self._context.emit(self._event(kind, client_event_id, **members))

    def _event(self, kind: str, client_event_id: str | None = None, **members: object) -> Event:
        named = {} if client_event_id is None else {"client_event_id": client_event_id}
        return {"type": kind, "event_id": self._new_id("event"), **members, **named}

    def _refuse(self, cause: Event, code: str, message: str, param: str) -> None:
        error = {"type": "invalid_request_error", "code": code, "message": message, "param": param}
        self._context.emit(error_event(self._new_id("event"), error, _id_of(cause)))

    def _new_id(self, prefix: str) -> str:
        return f"{prefix}_{self._suffix}_live{next(self._numbers)}"


def _id_of(event: Event) -> str | None:
    return shortened(event.get("event_id"))


def _push(of: OrderedDict[str, Asked], key: str, asked: Asked) -> None:
    """The newest stay: a backend that answers nothing keeps nobody from asking."""
    of[key] = asked
    if len(of) > MAX_ASKED:
        of.popitem(last=False)

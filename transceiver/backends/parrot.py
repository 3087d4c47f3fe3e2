"""The parrot: a backend that says back what it heard. No model, no network, no thread.

It is what a newcomer talks to, and a measuring instrument: what comes back is what arrived, so a test can
look for its own voice in it. docs/parrot.md describes it from outside.
"""

from __future__ import annotations

import numpy as np

from core.errors import ConfigError
from transceiver.backends.base import SessionContext
from transceiver.backends.recording import Frame, Recording, Turn
from transceiver.media import FRAME_MS, FRAME_SAMPLES, SAMPLE_RATE
from transceiver.realtime.event import EmitEvent, Event
from transceiver.realtime.items import Conversation
from transceiver.realtime.server_events import (
    EventChannel,
    ResponseEvents,
    message_item,
    shortened,
    unknown_item_code,
)
from transceiver.realtime.settings import DEFAULTS, override
from transceiver.turns.budget import Budgets, TurnAccount
from transceiver.turns.rule import START_WINDOW, Transition, TurnRule, to_frames
from transceiver.turns.settings import ServerVad, TurnDetection, read_turn_detection, wire_turn_detection
from transceiver.turns.vad import SpeechDetector

MODEL = "voxpop-parrot"
TAIL_FRAMES = 5
"""Kept after the last speech frame: the decay of a word is quieter than the word."""
FADE_MS = 5
FADE_SAMPLES = SAMPLE_RATE * FADE_MS // 1000


class Answer:
    """A turn on its way back to the caller. Dropping the object is what stops it: nothing else holds
    frames of it, so none can come late.

    `account` is of the turn that it follows by rule; None for answers that the client asked for.
    """

    def __init__(self, frames: list[bytes], events: ResponseEvents, account: TurnAccount | None) -> None:
        self.events = events
        self.account = account
        self._frames = frames
        self._played = 0

    @property
    def has_started(self) -> bool:
        """Whether the caller has heard any of it."""
        return self._played > 0

    @property
    def played_ms(self) -> int:
        """What was handed out."""
        return self._played * FRAME_MS

    def next_frame(self) -> bytes | None:
        """The next 20 ms; None after the last."""
        if self._played == len(self._frames):
            return None
        self._played += 1
        return self._frames[self._played - 1]


class Parrot:
    """The `Backend` of one session. `defaults` are for a caller who does not speak of turn detection.

    Raises ConfigError for settings that it cannot follow.
    """

    def __init__(self, context: SessionContext, defaults: ServerVad) -> None:
        self._session_id = context.session_id
        self._conversation = Conversation()
        self._channel = EventChannel(context.session_id, _overheard(context.emit, self._conversation))
        self._budgets = Budgets(context.observer, context.way)
        self._last_word = self._budgets.last_word()
        self._recording = Recording()
        self._rule = TurnRule(0)
        self._detector: SpeechDetector | None = None
        self._settings: TurnDetection | None = defaults
        self._told = DEFAULTS
        """What the client has set, whether it is our business or not."""
        self._follow(context.settings)
        self._turn: Turn | None = None
        self._turn_item = ""
        self._last_item: str | None = None
        self._answer: Answer | None = None
        self._fading: bytes | None = None

    # The session's clock

    def opened(self) -> None:
        """The client can be told things."""
        self._channel.is_open = True
        self._channel.send("session.created", session=self._session())

    def hear(self, pcm: bytes, now_ns: int) -> None:
        """One frame of the caller."""
        if self._settings is None or self._detector is None:
            self._recording.append(Frame(pcm, is_audible=True))
            return
        hearing = self._detector.judge(pcm)
        position = self._recording.end
        self._recording.append(Frame(pcm, hearing.is_audible))
        if hearing.is_speech:
            self._last_word.renew(now_ns)
        transition = self._rule.push(position, hearing.is_speech)
        if transition is Transition.STARTED:
            self._turn_started(self._settings)
        elif transition is Transition.STOPPED:
            self._turn_stopped(self._settings, now_ns)
        elif not self._rule.in_turn:
            padding = to_frames(self._settings.prefix_padding_ms)
            self._recording.keep_from(self._recording.end - START_WINDOW - padding)

    def speak(self, now_ns: int) -> bytes | None:
        """One frame for the caller."""
        if self._fading is not None:
            fading, self._fading = self._fading, None
            return fading
        if self._answer is None:
            return None
        is_first = not self._answer.has_started
        frame = self._answer.next_frame()
        if frame is None:
            self._answer.events.completed(was_heard=not is_first)
            self._answer = None
        elif is_first:
            self._answer_started(self._answer, now_ns)
        return frame

    def close(self) -> None:
        """Let go of all audio."""
        self._recording.clear()
        self._turn = self._answer = self._fading = None

    # Turns

    def _turn_started(self, settings: TurnDetection) -> None:
        self._recording.keep_from(self._rule.first_voiced - to_frames(settings.prefix_padding_ms))
        self._turn_item = self._channel.new_id("item")
        self._channel.send(
            "input_audio_buffer.speech_started",
            item_id=self._turn_item,
            audio_start_ms=self._recording.start * FRAME_MS,
        )
        if settings.interrupt_response:
            self._interrupt("turn_detected")

    def _turn_stopped(self, settings: TurnDetection, now_ns: int) -> None:
        self._channel.send(
            "input_audio_buffer.speech_stopped",
            item_id=self._turn_item,
            audio_end_ms=self._recording.end * FRAME_MS,
            voxpop={"speech_end_ms": self._rule.after_voiced * FRAME_MS},
        )
        self._commit(self._turn_item, self._rule.after_voiced + TAIL_FRAMES)
        if settings.create_response and self._answer is None:
            account = TurnAccount(now_ns, self._last_word)
            account.audio_came(now_ns)
            self._respond(account)

    def _commit(self, item_id: str, until: int) -> None:
        self._turn = self._recording.take(until)
        self._channel.send(
            "input_audio_buffer.committed",
            item_id=item_id,
            previous_item_id=self._last_item,
            voxpop={"audio_ms": self._turn.duration_ms, "dropped_ms": self._turn.dropped_ms},
        )
        item = message_item(item_id, "user", "completed", [{"type": "input_audio", "transcript": None}])
        self._channel.send("conversation.item.added", previous_item_id=self._last_item, item=item)
        self._channel.send("conversation.item.done", previous_item_id=self._last_item, item=item)
        self._last_item = item_id

    # Answers

    def _respond(self, account: TurnAccount | None) -> None:
        assert self._turn is not None
        events = ResponseEvents(self._channel)
        self._answer = Answer(self._turn.audible(), events, account)
        events.created(self._last_item)
        self._last_item = events.item_id

    def _answer_started(self, answer: Answer, now_ns: int) -> None:
        account = answer.account
        answer.events.started({} if account is None else self._budgets.close(account, now_ns))

    def _interrupt(self, reason: str) -> None:
        """Silence from the next frame on, but for a fade of 5 ms, so that breaking off does not click."""
        answer, self._answer = self._answer, None
        if answer is None:
            return
        played_ms = answer.played_ms
        if answer.has_started and (frame := answer.next_frame()) is not None:
            self._fading = faded_out(frame)
            played_ms += FADE_MS
        answer.events.cancelled(reason, played_ms)

    # The client's events

    def receive_event(self, event: Event) -> None:
        """Do what the client asks for, or say why not."""
        match event.get("type"):
            case "session.update":
                self._update(event)
            case "input_audio_buffer.commit":
                self._commit_by_client(event)
            case "input_audio_buffer.clear":
                self._clear_input()
            case "response.create":
                self._create(event)
            case "response.cancel":
                self._cancel(event)
            case "output_audio_buffer.clear":
                self._interrupt("client_cancelled")
            case "conversation.item.retrieve":
                self._retrieve(event)
            case other:
                message = (
                    f"The parrot has no use for {shortened(other)!r}; docs/parrot.md lists what it takes."
                )
                self._channel.refuse(event, "unknown_event", message, "type")

    def _update(self, event: Event) -> None:
        session = event.get("session")
        try:
            if not isinstance(session, dict):
                raise ConfigError(["session must be an object"])
            self._follow(session)
        except ConfigError as error:
            self._channel.refuse_settings(event, error)
        else:
            self._channel.send("session.updated", session=self._session())

    def _commit_by_client(self, event: Event) -> None:
        if not len(self._recording):
            self._channel.refuse(
                event, "input_audio_buffer_commit_empty", "Nothing was heard since the last commit or clear."
            )
            return
        item_id = self._turn_item if self._rule.in_turn else self._channel.new_id("item")
        self._rule.abandon()
        self._commit(item_id, self._recording.end)

    def _clear_input(self) -> None:
        self._rule.abandon()
        self._recording.clear()
        self._channel.send("input_audio_buffer.cleared")

    def _create(self, event: Event) -> None:
        if self._answer is not None:
            self._channel.refuse(
                event,
                "conversation_already_has_active_response",
                f"{self._answer.events.response_id} is still being spoken; cancel it first.",
            )
        elif self._turn is None:
            self._channel.refuse(event, "nothing_to_say", "The parrot has heard nothing to say back yet.")
        else:
            self._respond(account=None)

    def _cancel(self, event: Event) -> None:
        wanted = event.get("response_id")
        if self._answer is None or wanted not in (None, self._answer.events.response_id):
            self._channel.refuse(
                event, "response_cancel_not_active", "No such response is being spoken.", "response_id"
            )
        else:
            self._interrupt("client_cancelled")

    def _retrieve(self, event: Event) -> None:
        item = self._conversation.find(event.get("item_id"))
        if item is None:
            code, message = unknown_item_code(event), "There is no such item any more."
            self._channel.refuse(event, code, message, "item_id")
        else:
            self._channel.send("conversation.item.retrieved", item=item)

    # Settings

    def _follow(self, session: Event) -> None:
        """Raises ConfigError, and then nothing has changed."""
        turns = read_turn_detection(session, self._settings)
        self._told = self._told.updated(session)
        self._apply(turns)

    def _apply(self, settings: TurnDetection | None) -> None:
        if settings is None:
            self._detector = None
            self._rule.abandon()
        else:
            if (
                self._detector is None
                or self._settings is None
                or self._settings.threshold != settings.threshold
            ):
                self._detector = SpeechDetector(settings.threshold)
            self._rule.silence_frames = to_frames(settings.silence_duration_ms)
        self._settings = settings

    def _session(self) -> dict[str, object]:
        heard = {"transcription": None, "turn_detection": wire_turn_detection(self._settings)}
        ours = {"model": MODEL, "output_modalities": ["audio"], "audio": {"input": heard}}
        return override(self._told.wire(self._session_id), ours)


def _overheard(emit: EmitEvent, conversation: Conversation) -> EmitEvent:
    """`emit`, of which the conversation learns."""

    def tell(event: Event) -> None:
        conversation.learn_untrusted(event)
        emit(event)

    return tell


class Parrots:
    """The `BackendFactory`: parrots share nothing but what they are told of turns."""

    def __init__(self, defaults: ServerVad) -> None:
        self._defaults = defaults

    async def start(self) -> None:
        """Nothing to open."""

    def judge(self, settings: Event) -> None:
        """See SettingsJudge."""
        read_turn_detection(settings, self._defaults)

    def create(self, context: SessionContext) -> Parrot:
        """One more. Raises ConfigError."""
        return Parrot(context, self._defaults)

    async def close(self) -> None:
        """Nothing to close."""


FADE = np.zeros(FRAME_SAMPLES, np.float32)
FADE[:FADE_SAMPLES] = np.linspace(1, 0, FADE_SAMPLES, dtype=np.float32)


def faded_out(pcm: bytes) -> bytes:
    """The same frame, silent after `FADE_MS`."""
    return (np.frombuffer(pcm, "<i2") * FADE).astype("<i2").tobytes()

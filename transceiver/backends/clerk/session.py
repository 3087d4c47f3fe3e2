"""The clerk of one caller: turns become words, words replies, replies speech."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from core.errors import UnavailableError
from core.service.tasks import until_one_ends
from transceiver.backends.clerk.orders import Clerk, Reply, understand
from transceiver.backends.clerk.recognizer import Recognizer, Recognizers
from transceiver.backends.clerk.turn import MAX_FRAMES, Stages, Turn
from transceiver.backends.clerk.voice import EspeakVoice
from transceiver.backends.recording import Frame, Recording
from transceiver.backends.server.client import Client
from transceiver.backends.server.response import Response
from transceiver.media import FRAME_MS
from transceiver.realtime.event import Event
from transceiver.realtime.server_events import message_item
from transceiver.realtime.settings import SessionSettings, audio_side
from transceiver.turns.rule import START_WINDOW, Transition, TurnRule, to_frames
from transceiver.turns.settings import ServerVad, TurnDetection, read_turn_detection
from transceiver.turns.vad import SpeechDetector

logger = logging.getLogger(__name__)

MAX_WAITING = 8
"""Turns that wait to be recognised, and answers that wait to be spoken."""
STALL_S = 1.0
"""Without a frame in the middle of a turn."""
MODEL = "pocketsphinx"


@dataclass(frozen=True, slots=True)
class Desk:
    """What all clerks of a process share. `clock` gives monotonic nanoseconds, `time_of_day` words."""

    recognizers: Recognizers
    voice: EspeakVoice
    clock: Callable[[], int]
    time_of_day: Callable[[], str]


@dataclass(slots=True)
class Job:
    """An answer that is to be given: to what was said or typed, or to what a function has told."""

    text: str
    is_report: bool
    stages: Stages
    request: Event | None = None


class ClerkSession:
    """A `ServedSession`."""

    def __init__(self, client: Client, desk: Desk) -> None:
        self._client = client
        self._desk = desk
        self._clerk = Clerk()
        self._is_new = True
        self._turns: TurnDetection | None = ServerVad()
        self._detector = SpeechDetector(ServerVad().threshold)
        self._rule = TurnRule(0)
        self._recording = Recording()
        self._turn: Turn | None = None
        self._said: asyncio.Queue[Turn] = asyncio.Queue(MAX_WAITING)
        self._unheard: deque[Turn] = deque()
        """Turns that are committed and have no words yet."""
        self._jobs: asyncio.Queue[Job] = asyncio.Queue(MAX_WAITING)
        self._speaking: asyncio.Task[None] | None = None
        self._reason = ""
        self._heard_ns: int | None = None
        self._last = Job("", False, Stages())
        """What a `response.create` answers."""

    def configure(self, settings: SessionSettings) -> SessionSettings:
        """Turns as they are wanted. Transcripts are what it is here for, so they are on until turned off."""
        turns = read_turn_detection(settings.members, self._turns)
        if self._is_new:
            self._is_new = False
            transcription = {"input": {"transcription": {"model": MODEL}}}
            settings = settings.updated({"audio": transcription})
        if (turns is None) != (self._turns is None):
            self._forget_turn()  # whoever has begun it does not end it any more
        if turns is not None:
            self._rule.silence_frames = to_frames(turns.silence_duration_ms)
            if self._turns is None or turns.threshold != self._turns.threshold:
                self._detector = SpeechDetector(turns.threshold)
        self._turns = turns
        return settings

    # Hearing

    def hear(self, pcm: bytes, now_ns: int) -> None:
        """20 ms of the caller."""
        if self._turns is None:
            self._turn = self._turn or self._begin_turn()
            self._turn.append(pcm)
            return
        hearing = self._detector.judge(pcm)
        position = self._recording.end
        self._recording.append(Frame(pcm, hearing.is_audible))
        if self._turn is not None:
            self._turn.append(pcm)
        if hearing.is_speech:
            self._heard_ns = now_ns
        transition = self._rule.push(position, hearing.is_speech)
        if transition is Transition.STARTED:
            self._turn_started(self._turns)
        elif transition is Transition.STOPPED:
            self._turn_stopped(self._turns)
        elif not self._rule.in_turn:
            padding = to_frames(self._turns.prefix_padding_ms)
            self._recording.keep_from(position + 1 - START_WINDOW - padding)

    def _begin_turn(self) -> Turn:
        """A turn that is recognised while it is said; one too many is heard and not recognised."""
        turn = Turn(self._client.new_id("item"))
        turn.is_heard = not self._said.full()
        if turn.is_heard:
            self._said.put_nowait(turn)
        return turn

    def _turn_started(self, turns: TurnDetection) -> None:
        self._recording.keep_from(self._rule.first_voiced - to_frames(turns.prefix_padding_ms))
        self._turn = self._begin_turn()
        started_ms = self._recording.start * FRAME_MS
        for frame in self._recording.take(self._recording.end).frames:
            self._turn.append(frame.pcm)
        self._client.send(
            "input_audio_buffer.speech_started", item_id=self._turn.item_id, audio_start_ms=started_ms
        )
        if turns.interrupt_response:
            self._interrupt("turn_detected")

    def _turn_stopped(self, turns: TurnDetection) -> None:
        assert self._turn is not None
        self._client.send(
            "input_audio_buffer.speech_stopped",
            item_id=self._turn.item_id,
            audio_end_ms=self._recording.end * FRAME_MS,
        )
        self._turn.wants_answer = turns.create_response
        self._turn.stages.speech_ended_ns = self._heard_ns
        self._commit()

    def _commit(self) -> None:
        turn, self._turn = self._turn, None
        assert turn is not None
        turn.stages.turn_ended_ns = self._desk.clock()
        self._client.send("input_audio_buffer.committed", item_id=turn.item_id)
        item = message_item(turn.item_id, "user", "completed", [{"type": "input_audio", "transcript": None}])
        self._client.send("conversation.item.added", item=item)
        self._client.send("conversation.item.done", item=item)
        turn.end()
        self._recording.clear()
        if turn.is_heard:
            self._unheard.append(turn)
        else:
            self._fail_transcription(turn, "too_many_turns", "Too many turns wait to be recognised.")

    def _forget_turn(self) -> None:
        self._rule.abandon()
        self._recording.clear()
        if self._turn is not None:
            self._turn.is_forgotten = True
            self._turn.end()
            self._turn = None

    # The client's events

    def receive_event(self, event: Event) -> None:
        """What the client asks for."""
        match event["type"]:
            case "input_audio_buffer.commit":
                self._commit_by_client(event)
            case "input_audio_buffer.clear":
                self._forget_turn()
                self._client.send("input_audio_buffer.cleared")
            case "conversation.item.create":
                self._read(event["item"])
            case "response.create":
                self._create(event)
            case "response.cancel":
                if not self._interrupt("client_cancelled"):
                    self._client.refuse(event, "response_cancel_not_active", "No response is being made.")

    def _commit_by_client(self, event: Event) -> None:
        if self._turn is None:
            self._client.refuse(event, "input_audio_buffer_commit_empty", "Nothing was heard to commit.")
            return
        self._rule.abandon()
        self._commit()

    def _read(self, item: object) -> None:
        """An item that the client has written."""
        if not isinstance(item, Mapping):
            return
        if item.get("type") == "function_call_output":
            self._last = Job(str(item.get("output")), True, Stages())
        elif item.get("type") == "message" and item.get("role") == "user":
            parts = item.get("content")
            texts = [part.get("text") for part in parts if isinstance(part, Mapping)] if parts else []
            self._last = Job(" ".join(text for text in texts if isinstance(text, str)), False, Stages())
            self._clerk.remember(understand(self._last.text))

    def _create(self, event: Event) -> None:
        """An answer to the newest turn or item; a turn that is being recognised is answered after that."""
        if self._is_speaking or self._jobs.full():
            code = "conversation_already_has_active_response"
            self._client.refuse(event, code, "A response is being made; cancel it first.")
        elif self._unheard:
            self._unheard[-1].wants_answer, self._unheard[-1].request = True, event
        else:
            self._last.stages = Stages(turn_ended_ns=self._desk.clock())
            self._jobs.put_nowait(replace(self._last, request=event))

    @property
    def _is_speaking(self) -> bool:
        """Not any more once it was cut off: clients cancel and ask again in one breath."""
        speaking = self._speaking
        return speaking is not None and not speaking.done() and not speaking.cancelling()

    def _interrupt(self, reason: str) -> bool:
        """No more of the answer that is being made; False where there is none."""
        if self._speaking is None:
            return False
        self._reason = reason
        self._speaking.cancel()
        return True

    # The stages

    async def run(self) -> None:
        """Recognise one turn after the other, and beside that give one answer after the other."""
        await until_one_ends(self._recognise_all(), self._answer_all())

    def close(self) -> None:
        """The caller is gone."""
        self._forget_turn()

    async def _recognise_all(self) -> None:
        while True:
            turn = await self._said.get()
            try:
                text = await self._recognise(turn)
            except UnavailableError as error:
                logger.error("session %s: %s", self._client.session_id, error)
                text = ""
                await turn.beyond(MAX_FRAMES)
                self._fail_transcription(turn, "recogniser_lost", str(error))
            if turn.is_forgotten:
                continue
            self._unheard.remove(turn)
            turn.stages.recognised_ns = self._desk.clock()
            self._last = Job(text, False, turn.stages)
            self._tell_transcript(turn, text)
            if turn.wants_answer:
                await self._jobs.put(replace(self._last, request=turn.request))

    async def _recognise(self, turn: Turn) -> str:
        """What was said. Words are recognised while they are said; but who falls silent in the middle of a
        turn keeps no recogniser from others, and is heard again from the start.
        """
        while True:
            async with self._desk.recognizers.one() as recognizer:
                with contextlib.suppress(TimeoutError):
                    await self._feed(recognizer, turn)
                if turn.is_over and not turn.is_forgotten:
                    return await recognizer.end()
                await recognizer.forget()
            if turn.is_forgotten:
                return ""
            await turn.beyond(len(turn.frames))

    async def _feed(self, recognizer: Recognizer, turn: Turn) -> None:
        """All frames, up to the end. Raises TimeoutError where no more come."""
        fed = 0
        while True:
            async with asyncio.timeout(STALL_S):
                await turn.beyond(fed)
            if fed == len(turn.frames) or turn.is_forgotten:
                return
            await recognizer.hear(turn.frames[fed])
            fed += 1

    def _tell_transcript(self, turn: Turn, text: str) -> None:
        if audio_side(self._client.settings.members, "input").get("transcription") is None:
            return
        part = {"item_id": turn.item_id, "content_index": 0}
        kind = "conversation.item.input_audio_transcription"
        if text:
            self._client.send(f"{kind}.delta", **part, delta=text)
        usage = {"type": "duration", "seconds": len(turn.frames) * FRAME_MS / 1000}
        self._client.send(f"{kind}.completed", **part, transcript=text, usage=usage)

    def _fail_transcription(self, turn: Turn, code: str, message: str) -> None:
        self._client.send(
            "conversation.item.input_audio_transcription.failed",
            item_id=turn.item_id,
            content_index=0,
            error={"type": "server_error", "code": code, "message": message},
        )

    async def _answer_all(self) -> None:
        while True:
            job = await self._jobs.get()
            response = Response(self._client, job.request)
            self._speaking = asyncio.create_task(self._answer(job, response))
            try:
                await asyncio.wait({self._speaking})
                if self._speaking.cancelled():
                    response.cancel(self._reason)
                else:
                    self._speaking.result()
            finally:
                self._speaking.cancel()
                await asyncio.gather(self._speaking, return_exceptions=True)
                self._speaking = None

    async def _answer(self, job: Job, response: Response) -> None:
        try:
            reply = self._reply(job)
            job.stages.replied_ns = self._desk.clock()
            if reply.function is not None:
                response.call(reply.function, "{}")
            elif response.is_text:
                response.say(reply.words)
            else:
                await self._speak(response, reply.words, job.stages)
        except UnavailableError as error:
            logger.error("session %s: %s", self._client.session_id, error)
            response.fail("no_voice")
        else:
            stages = job.stages.wire()
            logger.info("session %s: %s", self._client.session_id, stages)
            response.complete(stages_ms=stages)

    def _reply(self, job: Job) -> Reply:
        if job.is_report:
            return self._clerk.report(job.text)
        tools = self._client.settings.members["tools"]
        return self._clerk.reply(understand(job.text), tools, self._desk.time_of_day())

    async def _speak(self, response: Response, words: str, stages: Stages) -> None:
        response.say(words)
        async with contextlib.aclosing(self._desk.voice.speak(words)) as speech:
            async for pcm in speech:
                if stages.spoken_ns is None:
                    stages.spoken_ns = self._desk.clock()
                response.speak(pcm)
                await self._client.drained()

"""A bot of Pipecat's: `pipecat_bot URL STEP …`, as `scene.py` has them.

Its service for OpenAI Realtime has nothing but the base URL set. Before it in the pipeline is a microphone
and behind it a loudspeaker, both in real time.
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys
import time
from typing import Any

import numpy as np
import soxr
from loguru import logger
from pipecat.frames.frames import (
    BotStartedSpeakingFrame,
    BotStoppedSpeakingFrame,
    EndFrame,
    ErrorFrame,
    Frame,
    InputAudioRawFrame,
    InterruptionFrame,
    LLMRunFrame,
    TTSAudioRawFrame,
    TTSStoppedFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.services.llm_service import FunctionCallParams
from pipecat.services.openai.realtime.events import (
    AudioConfiguration,
    AudioInput,
    ConversationItemTruncateEvent,
    InputAudioTranscription,
    SessionProperties,
)
from pipecat.services.openai.realtime.llm import OpenAIRealtimeLLMService
from pipecat.workers.runner import WorkerRunner

from tests.peers.frameworks.scene import Call, Said, perform, read_pcm

RATE, FRAME_SAMPLES = 16_000, 320


class Microphone(FrameProcessor):
    """20 ms frames in real time. Notes the errors that come up."""

    def __init__(self, call: Call) -> None:
        super().__init__()
        self._call = call
        self._said = Said(FRAME_SAMPLES * 2)

    def say(self, path: str) -> None:
        rate, pcm = read_pcm(path)
        self._said.append(soxr.resample(np.frombuffer(pcm, np.int16), rate, RATE).tobytes())

    async def run(self) -> None:
        at = time.monotonic()
        while True:
            at += FRAME_SAMPLES / RATE
            await asyncio.sleep(at - time.monotonic())
            await self.push_frame(InputAudioRawFrame(self._said.frame(), RATE, 1))

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, ErrorFrame):
            self._call.note("error", frame.error)
        await self.push_frame(frame, direction)


class Loudspeaker(FrameProcessor):
    """Plays what it is given, in real time."""

    def __init__(self, call: Call) -> None:
        super().__init__()
        self._call = call
        self.heard = bytearray()
        self._ends = 0.0
        self._is_complete = asyncio.Event()
        self._playing: asyncio.Task[None] | None = None

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, TTSAudioRawFrame):
            self.heard += frame.audio
            self._ends = max(self._ends, time.monotonic()) + len(frame.audio) / 2 / frame.sample_rate
            if self._playing is None:
                await self._tell(BotStartedSpeakingFrame)
                self._call.note("playing")
                self._is_complete.clear()
                self._playing = asyncio.create_task(self._play())
        elif isinstance(frame, TTSStoppedFrame):
            self._is_complete.set()
        elif isinstance(frame, InterruptionFrame) and self._playing is not None:
            self._playing.cancel()
            self._playing, self._ends = None, 0.0
            self._call.note("interrupted")
            await self._tell(BotStoppedSpeakingFrame)
        await self.push_frame(frame, direction)

    async def _play(self) -> None:
        """To the end of the answer, which may come in late: a pause in it is not its end."""
        await self._is_complete.wait()
        while self._ends > time.monotonic():  # noqa: ASYNC110 - it waits for the time, which may move
            await asyncio.sleep(self._ends - time.monotonic())
        self._playing = None
        await self._tell(BotStoppedSpeakingFrame)
        self._call.note("played")

    async def _tell(self, kind: type[Frame]) -> None:
        await self.push_frame(kind())
        await self.push_frame(kind(), FrameDirection.UPSTREAM)


class Service(OpenAIRealtimeLLMService):
    """As it is; what it truncates is noted as well."""

    def __init__(self, call: Call, **settings: Any) -> None:
        super().__init__(**settings)
        self._call = call

    async def send_client_event(self, event: Any) -> None:
        if isinstance(event, ConversationItemTruncateEvent):
            self._call.note("truncate", event.audio_end_ms)
        await super().send_client_event(event)


class Client:
    """The pipeline. Only a conversation that has yet to begin can be begun by typing."""

    def __init__(self, call: Call, url: str) -> None:
        self.call = call
        self.microphone, self.loudspeaker = Microphone(call), Loudspeaker(call)
        heard = AudioConfiguration(input=AudioInput(transcription=InputAudioTranscription()))
        self.service = Service(
            call,
            api_key="none",
            base_url=url,
            settings=OpenAIRealtimeLLMService.Settings(
                system_instruction="Be short.", session_properties=SessionProperties(audio=heard)
            ),
        )
        self.context = LLMContext([], [self._tool()])
        user, assistant = LLMContextAggregatorPair(self.context)
        stages = [self.microphone, user, self.service, self.loudspeaker, assistant]
        self.worker = PipelineWorker(Pipeline(stages), enable_rtvi=False)

    def _tool(self) -> Any:
        async def get_time(params: FunctionCallParams) -> None:
            """Tell the time."""
            self.call.note("tool", params.arguments)
            await params.result_callback({"time": "half past two"})

        return get_time

    def say(self, path: str) -> None:
        self.microphone.say(path)

    async def type(self, words: str) -> None:
        self.context.add_message({"role": "user", "content": words})
        await self.worker.queue_frame(LLMRunFrame())

    async def reconnect(self) -> None:
        raise NotImplementedError("it does so when an application wants it to, and not by itself")

    async def rewrite(self) -> None:
        raise NotImplementedError("it adds to a conversation, and takes nothing out of it")

    async def ask_for_nothing(self) -> None:
        """An item that is not there."""
        try:
            await self.service.retrieve_conversation_item("item_of_nobody")
        except Exception as error:  # noqa: BLE001 - it raises no other kind
            self.call.note("refused", str(error))

    def history(self) -> list[list[Any]]:
        """Who said what."""
        messages = [dict(message) for message in self.context.get_messages()]
        return [[message["role"], message["content"]] for message in messages if "content" in message]


async def talk(url: str, steps: list[str]) -> dict[str, Any]:
    call = Call()
    client = Client(call, url)
    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(client.worker)
    running = asyncio.create_task(runner.run())
    hearing = asyncio.create_task(client.microphone.run())
    await perform(steps, call, client)
    await client.ask_for_nothing()
    hearing.cancel()
    await client.worker.queue_frame(EndFrame())
    await running
    heard = base64.b64encode(client.loudspeaker.heard).decode()
    return {"seen": call.seen, "history": client.history(), "heard": heard}


if __name__ == "__main__":
    logger.remove()
    logger.add(sys.stderr, level="WARNING")
    sys.stdout.write(json.dumps(asyncio.run(talk(sys.argv[1], sys.argv[2:]))))

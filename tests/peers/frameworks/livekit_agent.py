"""An agent of LiveKit's: `livekit_agent URL SECONDS STEP …`, as `scene.py` has them.

Its model is the plugin for OpenAI with nothing but the base URL set, which renews its connection after so
many seconds. Instead of a room it has a microphone and a loudspeaker, both in real time.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import sys
import time
from typing import Any

from livekit import rtc
from livekit.agents import Agent, AgentSession, function_tool
from livekit.agents.voice.io import AudioInput, AudioOutput, AudioOutputCapabilities, PlaybackFinishedEvent
from livekit.plugins.openai.realtime import RealtimeModel

from tests.peers.frameworks.scene import Call, Said, perform, read_pcm

RATE, FRAME_SAMPLES = 48_000, 960
HISTORY_S = 5


class Microphone(AudioInput):
    """20 ms frames in real time."""

    def __init__(self) -> None:
        super().__init__(label="microphone")
        self._said = Said(FRAME_SAMPLES * 2)
        self._next = time.monotonic()

    def say(self, path: str) -> None:
        rate, pcm = read_pcm(path)
        resampler = rtc.AudioResampler(rate, RATE)
        for frame in [*resampler.push(bytearray(pcm)), *resampler.flush()]:
            self._said.append(bytes(frame.data))

    async def __anext__(self) -> rtc.AudioFrame:
        self._next += FRAME_SAMPLES / RATE
        await asyncio.sleep(self._next - time.monotonic())
        return rtc.AudioFrame(self._said.frame(), RATE, 1, FRAME_SAMPLES)


class Loudspeaker(AudioOutput):
    """Plays what it is given, in real time."""

    def __init__(self) -> None:
        super().__init__(label="loudspeaker", capabilities=AudioOutputCapabilities(pause=False))
        self.heard = bytearray()
        self._given_s = 0.0
        self._began = 0.0
        self._end: asyncio.TimerHandle | None = None

    async def capture_frame(self, frame: rtc.AudioFrame) -> None:
        await super().capture_frame(frame)
        if not self._given_s:
            self._began = time.time()
            self.on_playback_started(created_at=self._began)
        self._given_s += frame.duration
        self.heard += bytes(frame.data)

    def flush(self) -> None:
        super().flush()
        if self._given_s:
            left_s = self._began + self._given_s - time.time()
            self._end = asyncio.get_running_loop().call_later(max(left_s, 0), self._finish, False)

    def clear_buffer(self) -> None:
        if self._given_s:
            self._finish(True)

    def _finish(self, interrupted: bool) -> None:
        if self._end is not None:
            self._end.cancel()
        played_s = min(self._given_s, time.time() - self._began) if interrupted else self._given_s
        self._given_s, self._end = 0.0, None
        self.on_playback_finished(playback_position=played_s, interrupted=interrupted)


class Clerk(Agent):
    def __init__(self, call: Call) -> None:
        super().__init__(instructions="Be short.")
        self._call = call

    @function_tool
    async def get_time(self) -> str:
        """Tell the time."""
        self._call.note("tool")
        return "half past two"


class Client:
    """The session, and what is noted of it."""

    def __init__(self, call: Call, model: RealtimeModel) -> None:
        self.call = call
        self.microphone, self.loudspeaker = Microphone(), Loudspeaker()
        self.agent = Clerk(call)
        self.session: AgentSession[None] = AgentSession(llm=model, vad=None)
        self.session.input.audio, self.session.output.audio = self.microphone, self.loudspeaker
        self._connections = 0

    async def start(self) -> None:
        def played(event: PlaybackFinishedEvent) -> None:
            self.call.note(
                "interrupted" if event.interrupted else "played", round(event.playback_position * 1000)
            )

        self.session.on("error", lambda event: self.call.note("error", str(event.error)))
        self.session.on("conversation_item_added", self._note_history)
        self.loudspeaker.on("playback_finished", played)
        self.loudspeaker.on("playback_started", lambda _: self.call.note("playing"))
        await self.session.start(self.agent)
        realtime = self.agent.realtime_llm_session
        realtime.on("openai_server_event_received", self._note_server_event)
        realtime.on("session_reconnected", lambda _: self.call.note("reconnected"))

    def _note_history(self, event: Any) -> None:
        if getattr(event.item, "role", None) == "assistant":
            self.call.note("in history")

    def _note_server_event(self, event: dict[str, Any]) -> None:
        match event["type"]:
            case "error":
                self.call.note("error", event["error"])
            case "conversation.item.truncated":
                self.call.note("truncated", event["audio_end_ms"])
            case "response.done":
                self.call.note("response", event["response"]["status"])

    def say(self, path: str) -> None:
        self.microphone.say(path)

    async def type(self, words: str) -> None:
        self.session.generate_reply(user_input=words)

    async def reconnect(self) -> None:
        self._connections += 1
        await self.call.until("reconnected", self._connections)

    async def rewrite(self) -> None:
        chat = self.agent.chat_ctx.copy()
        first = next(item for item in chat.items if item.type == "message" and item.role == "user")
        chat.items.remove(first)
        second = next(item for item in chat.items if item.type == "message" and item.role == "user")
        chat.add_message(role="user", content="call me oliver", created_at=second.created_at + 1e-6)
        await self.agent.update_chat_ctx(chat)
        for said in transcript(self.agent.realtime_llm_session.chat_ctx):
            self.call.note("rewritten", said)


def transcript(chat: Any) -> list[list[str | None]]:
    """Who said what."""
    return [
        [item["role"], " ".join(item["content"])]
        for item in chat.to_dict()["items"]
        if item["type"] == "message"
    ]


async def talk(url: str, max_session_s: float, steps: list[str]) -> dict[str, Any]:
    call = Call()
    model = RealtimeModel(base_url=url, api_key="none", max_session_duration=max_session_s)
    client = Client(call, model)
    await client.start()
    await perform(steps, call, client)
    with contextlib.suppress(TimeoutError):  # words are there a moment after the last sound, if at all
        async with asyncio.timeout(HISTORY_S):
            await call.until("in history", len(call.seen["playing"]))
    history = transcript(client.session.history)
    await client.session.aclose()
    await model.aclose()
    heard = base64.b64encode(client.loudspeaker.heard).decode()
    return {"seen": call.seen, "history": history, "heard": heard}


if __name__ == "__main__":
    outcome = asyncio.run(talk(sys.argv[1], float(sys.argv[2]), sys.argv[3:]))
    sys.stdout.write(json.dumps(outcome))

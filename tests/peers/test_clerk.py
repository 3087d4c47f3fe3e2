"""The clerk and its words, by OpenAI's packages: types that judge every event, and an agent with a tool."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from agents import function_tool
from agents.realtime import RealtimeAgent, RealtimeRunner
from openai import AsyncOpenAI

from tests.e2e.test_openai import Talk
from tests.sound import silence
from tests.transceiver.backends.clerk.kit import words
from tests.transceiver.backends.server.kit import PATIENCE_S, serving
from transceiver.backends.clerk.backend import Clerks

TRANSCRIBED = "conversation.item.input_audio_transcription.completed"
TOOL: Any = {"type": "function", "name": "get_time", "parameters": {"type": "object"}}


def clerks() -> Clerks:
    return Clerks(1, time.monotonic_ns, lambda: "3:15 PM")


def said(text: str) -> bytes:
    return words(text).tobytes() + silence(1_000).tobytes()


def test_every_event_of_the_clerk_is_one_of_the_protocol() -> None:
    async def scenario() -> None:
        async with serving(clerks()) as served:
            client = AsyncOpenAI(api_key="none", websocket_base_url=f"ws://{served.at}/v1")
            async with client, client.realtime.connect(model="clerk") as connection:
                talk = Talk(connection)
                await connection.session.update(session={"type": "realtime", "tools": [TOOL]})
                await talk.append(said("call me robert"))
                assert (await talk.until(TRANSCRIBED)).transcript == "call me robert"
                (item,) = (await talk.until("response.done")).response.output
                assert item.content[0].transcript == "Hello, Robert."
                await talk.append(said("what time is it"))
                (call,) = (await talk.until("response.done")).response.output
                assert (call.type, call.name) == ("function_call", "get_time")
                output: Any = {"type": "function_call_output", "call_id": call.call_id, "output": "noon"}
                await connection.conversation.item.create(item=output)
                await connection.response.create(response={"output_modalities": ["text"]})
                (item,) = (await talk.until("response.done")).response.output
                assert item.content[0].text == "It is noon, Robert."

    asyncio.run(scenario())


def test_an_agent_has_its_tool_called_and_its_history_right() -> None:
    asked: list[str] = []

    def get_time() -> str:
        """Tell the time."""
        asked.append("time")
        return "half past two"

    async def scenario() -> None:
        async with serving(clerks()) as served:
            runner = RealtimeRunner(
                RealtimeAgent(name="clerk", instructions="Be short.", tools=[function_tool(get_time)])
            )
            session = await runner.run(model_config={"url": served.url + "?model=clerk", "api_key": "none"})
            async with session, asyncio.timeout(PATIENCE_S):
                await session.send_audio(said("what time is it"))
                history: list[Any] = []
                async for event in session:
                    assert event.type != "error", event
                    if event.type == "history_updated":
                        history = event.history
                    if asked and event.type == "audio_end":
                        break
                transcripts = [
                    part.transcript for item in history if item.type == "message" for part in item.content
                ]
        assert "what time is it" in transcripts
        assert asked == ["time"]

    asyncio.run(scenario())

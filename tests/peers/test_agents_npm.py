"""The Agents SDK of OpenAI in a browser, with nothing but the base URL set."""

from __future__ import annotations

import asyncio
import base64
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest
from openai.types.realtime import ClientSecretCreateResponse, RealtimeSessionCreateResponse
from pydantic import TypeAdapter

from tests.browser.driver import Browser
from tests.decoding import decode
from tests.peers.front import IN_PROCESS, Front
from tests.peers.judge import judge, strangers
from tests.peers.packages import visiting
from tests.sound import Samples, likeness_in_pieces, silence, speech
from tests.transceiver.backends.clerk.kit import words
from transceiver.backends.clerk.voice import EspeakVoice
from transceiver.media import SAMPLE_RATE

pytestmark = pytest.mark.browser

LEAST_LIKENESS = 0.5
"""Two passes of Opus and a jitter buffer leave more than that of the waveform; other words come to 0.2."""
FAINT = 50
"""What silence may come to behind Opus, of 32,768."""
LONG = "repeat alligator september butterfly telephone washington elephant"
SOUNDS = {"time": words("what time is it"), "name": words("call me robert")}
ANSWER_TIMEOUT_S = 30
NOTICE_S = 5
"""Less than ICE needs to find out."""


@dataclass
class Visit:
    """An application on a page, in a call."""

    page: Browser
    front: Front
    call: str = ""

    async def connect(self) -> None:
        """As the SDK's documentation has it: the application's server makes a secret for the page."""
        async with self.front.client() as server:
            made = await server.realtime.client_secrets.with_raw_response.create(
                expires_after={"anchor": "created_at", "seconds": 60},
                session={"type": "realtime", "instructions": "Say little."},
            )
        secret = TypeAdapter(ClientSecretCreateResponse).validate_json(made.content, strict=True)
        assert isinstance(secret.session, RealtimeSessionCreateResponse)
        assert not list(strangers(secret))
        url = json.dumps(f"{self.front.url}/realtime/calls")
        self.call = await self.page.evaluate(f"return await connect({url}, {json.dumps(secret.value)})")

    async def say(self, sound: str) -> None:
        await self.page.evaluate(f"await say({sound!r})")

    async def write(self, text: str) -> None:
        await self.page.evaluate(f"session.sendMessage({text!r})")

    async def until(self, kind: str, times: int = 1) -> None:
        await self.page.wait_for(f"count({kind!r}) >= {times}", ANSWER_TIMEOUT_S)

    async def heard(self) -> Samples:
        return decode(base64.b64decode(await self.page.evaluate("return await recorded()")))

    async def state(self) -> Any:
        return await self.page.evaluate("return voxpop")

    async def status_of_call(self) -> int:
        headers = {"Authorization": f"Bearer {self.front.key}"}
        url = f"{self.front.url}/realtime/calls/{self.call}"
        async with aiohttp.ClientSession(headers=headers) as http, http.get(url) as response:
            return response.status


async def spoken(text: str) -> Samples:
    """As the clerk says it."""
    return np.frombuffer(b"".join([pcm async for pcm in EspeakVoice().speak(text)]), "<i2")


def test_an_agent_talks_has_its_tool_called_is_interrupted_and_keeps_its_history(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with visiting(tmp_path, "agents.js", "clerk", SOUNDS) as (page, front):
            visit = Visit(page, front)
            await visit.connect()
            assert await visit.status_of_call() == 204
            await asks_for_the_time(visit)
            await breaks_in(visit)
            await presses_stop(visit)
            await page.evaluate("session.close()")
            await page.wait_for("voxpop.status === 'disconnected'")
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                while await visit.status_of_call() != 404:
                    pass
            state = await visit.state()
            assert state["errors"] == []
            events = judge(state["received"])
            assert [event.type for event in events[:2]] == ["session.created", "session.updated"]
            assert events[0].session.instructions == "Say little."
            assert events[1].session.instructions == "Be short."
            assert [tool.name for tool in events[1].session.tools] == ["get_time"]

    asyncio.run(scenario())


def test_an_agent_interrupts_the_parrot_and_is_hung_up_on(tmp_path: Path) -> None:
    """The backend that everybody meets first. It has no words, and its items are asked for all the same."""

    async def scenario() -> None:
        sounds = {"speech": speech(), "name": SOUNDS["name"]}
        async with visiting(tmp_path, "agents.js", IN_PROCESS, sounds) as (page, front):
            visit = Visit(page, front)
            await visit.connect()
            await visit.say("speech")
            await visit.until("output_audio_buffer.started")
            await visit.say("name")
            await visit.until("output_audio_buffer.stopped")
            await visit.until("conversation.item.retrieved")
            state = await visit.state()
            assert state["errors"] == []
            assert [(item["role"], item["status"]) for item in state["history"]] == [
                ("user", "completed"),
                ("assistant", "incomplete"),
                ("user", "completed"),
                ("assistant", "completed"),
            ]
            events = judge(state["received"])
            (updated, _) = (event.session for event in events if event.type == "session.updated")
            assert updated.instructions == "Be short."
            async with front.client() as server:
                await server.realtime.calls.hangup(visit.call)
            await page.wait_for("voxpop.status === 'disconnected'", NOTICE_S)

    asyncio.run(scenario())


async def asks_for_the_time(visit: Visit) -> None:
    """The function is called in the page, and its result is heard in words."""
    await visit.page.evaluate("record()")
    await visit.say("time")
    await visit.until("output_audio_buffer.stopped")
    expected = await spoken("It is half past two.")
    heard = await visit.heard()
    assert likeness_in_pieces(expected, heard) > LEAST_LIKENESS
    state = await visit.state()
    assert state["calls"] == ["get_time"]
    user, call, assistant = state["history"]
    assert (user["role"], user["content"][0]["transcript"]) == ("user", "what time is it")
    assert (call["name"], call["status"], call["output"]) == ("get_time", "completed", "half past two")
    assert (assistant["role"], assistant["content"][0]["transcript"]) == ("assistant", "It is half past two.")


async def breaks_in(visit: Visit) -> None:
    """By voice, in the middle of a long answer, which is truncated to what was heard."""
    await visit.write(LONG)
    await visit.until("output_audio_buffer.started", 2)
    await visit.say("name")
    await visit.until("output_audio_buffer.cleared")
    await visit.until("conversation.item.truncated")
    await visit.until("output_audio_buffer.stopped", 2)
    state = await visit.state()
    assert [item["role"] for item in state["history"][3:]] == ["user", "assistant"] * 2
    asked, _, *said = (item["content"][0] for item in state["history"][3:])
    assert asked["text"] == LONG
    assert [part["transcript"] for part in said] == ["call me robert", "Hello, Robert."]
    events = judge(state["received"])
    (truncated,) = (event for event in events if event.type == "conversation.item.truncated")
    assert truncated.item_id == state["history"][4]["itemId"]
    assert 0 < truncated.audio_end_ms < len(await spoken(LONG)) / SAMPLE_RATE * 1000
    # It is for its history that the SDK asks for the item; words that nobody has heard are not in it.
    retrieved = [event.item for event in events if event.type == "conversation.item.retrieved"]
    (cut,) = (item for item in retrieved if item.id == truncated.item_id)
    assert cut.content[0].transcript is None


async def presses_stop(visit: Visit) -> None:
    """`interrupt()`, and nothing more of the answer is heard, but what its jitter buffer had already."""
    await visit.write(LONG)
    await visit.until("output_audio_buffer.started", 4)
    await visit.page.evaluate("record(); session.interrupt()")
    await visit.until("output_audio_buffer.cleared", 2)
    heard = await visit.heard()
    assert len(await spoken(LONG)) > len(silence(3_000))
    assert np.abs(heard[-len(silence(500)) :]).max() < FAINT

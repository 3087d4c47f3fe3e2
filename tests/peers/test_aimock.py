"""aimock, which mocks OpenAI's Realtime API for others, as the backend of a call: text and function calls."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from yarl import URL

from tests.peers.front import Front, before
from tests.peers.packages import NPM, node
from tests.transceiver.net import PATIENCE_S, until
from transceiver.caller.api import SignalingClient, calls_url
from transceiver.caller.call import Call, HeardEvent
from transceiver.media.ticker import Ticker
from transceiver.transport.certificate import Certificate

TOOL = {"type": "function", "name": "get_time", "parameters": {"type": "object"}}


@asynccontextmanager
async def mock() -> AsyncIterator[str]:
    """What runs it, and its URL."""
    process = await asyncio.create_subprocess_exec(
        node(), NPM / "aimock.js", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        async with asyncio.timeout(PATIENCE_S):
            yield (await process.stdout.readline()).decode().strip()
    finally:
        process.stdin.close()
        async with asyncio.timeout(PATIENCE_S):
            await process.wait()


class Caller:
    """A call whose event channel is used, and whose track is not."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self._read = 0

    async def send(self, kind: str, **members: object) -> None:
        """As soon as the channel is open."""
        transport, event = self.call.transport, json.dumps({"type": kind, **members})
        await until(lambda: transport is not None and transport.send_event(event))

    async def write(self, text: str) -> None:
        content = [{"type": "input_text", "text": text}]
        item = {"type": "message", "role": "user", "content": content}
        await self.send("conversation.item.create", item=item)

    async def answer(self) -> list[Any]:
        """All events up to the next end of a response."""
        await self.send("response.create", response={"output_modalities": ["text"]})
        await until(lambda: "response.done" in [event.type for event in self._new()])
        end = [event.type for event in self._new()].index("response.done") + 1
        events = [event.event for event in self._new()[:end]]
        self._read += end
        return events

    def _new(self) -> list[HeardEvent]:
        return self.call.record.events[self._read :]


@asynccontextmanager
async def calling(front: Front) -> AsyncIterator[Caller]:
    ticker = Ticker()
    async with aiohttp.ClientSession() as http:
        call = Call(
            SignalingClient(http, calls_url(front.plan.url), front.key), ticker, Certificate.generate()
        )
        try:
            await call.connect()
            yield Caller(call)
        finally:
            await call.hang_up()
            ticker.close()


def text(events: list[Any]) -> str:
    return "".join(event["delta"] for event in events if event["type"] == "response.output_text.delta")


def test_text_and_function_calls_pass_through(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with mock() as url, before(_realtime(url), tmp_path) as front, calling(front) as caller:
            await caller.send(
                "session.update", session={"type": "realtime", "instructions": "Be brief.", "tools": [TOOL]}
            )
            await caller.write("name the colours")
            events = await caller.answer()
            assert text(events) == "Red, green and blue."
            assert sum(event["type"] == "response.output_text.delta" for event in events) > 1

            await caller.write("what time is it")
            (call,) = (await caller.answer())[-1]["response"]["output"]
            assert (call["type"], call["name"]) == ("function_call", "get_time")
            assert json.loads(call["arguments"]) == {"zone": "UTC"}
            output = {
                "type": "function_call_output",
                "call_id": call["call_id"],
                "output": '{"time": "noon"}',
            }
            await caller.send("conversation.item.create", item=output)
            assert text(await caller.answer()) == "It is noon."
            assert "error" not in [event.type for event in caller.call.record.events]
            assert (await asked(url))[-1] == [
                ("system", "Be brief."),
                ("user", "name the colours"),
                ("assistant", "Red, green and blue."),
                ("user", "what time is it"),
                ("assistant", None),
                ("tool", '{"time": "noon"}'),
            ]

    asyncio.run(scenario())


async def asked(url: str) -> list[list[tuple[str, str | None]]]:
    """What it was asked each time: who had said what."""
    async with aiohttp.ClientSession() as http, http.get(f"{url}/__aimock/journal") as response:
        journal = await response.json()
    entries = journal if isinstance(journal, list) else journal["entries"]
    return [[_said(message) for message in entry["body"]["messages"]] for entry in entries]


def _said(message: Any) -> tuple[str, str | None]:
    content = message["content"]
    return message["role"], content if not isinstance(content, list) else content[0]["text"]


def test_a_backend_that_has_retired_the_beta_is_lost_and_the_log_says_why(tmp_path: Path) -> None:
    async def scenario() -> None:
        log = tmp_path / "transceiver.log"
        async with (
            mock() as url,
            before(_realtime(url), tmp_path, dialect="beta", connections=0) as front,
            calling(front) as caller,
        ):
            await until(lambda: "; it had said beta_api_shape_disabled" in log.read_text())
            await until(lambda: "error" in [event.type for event in caller.call.record.events])

    asyncio.run(scenario())


def _realtime(url: str) -> str:
    return str(URL(url).with_scheme("ws") / "v1" / "realtime")

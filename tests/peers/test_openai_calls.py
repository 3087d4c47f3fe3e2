"""OpenAI's Python package on a server beside callers: the examples of the pages, as they stand there."""

from __future__ import annotations

import ast
import asyncio
from collections.abc import Mapping
from pathlib import Path
from types import FunctionType
from typing import Any

import aiohttp
from openai import AsyncOpenAI
from yarl import URL

from tests.e2e.clients import PAGE, application, serving
from tests.pages import block, only
from tests.ports import free_tcp_port
from tests.transceiver.host_calls import calling_at
from tests.transceiver.net import until
from transceiver.caller.api import Placed, SignalingClient

PATIENCE_S = 60


async def run(code: str, names: dict[str, Any]) -> None:
    """Code of a page that stands in no function and yet awaits; what it assigns is in `names` then."""
    await FunctionType(compile(code, "page", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), names)()


class ByPage(SignalingClient):
    """Has docs/live.md make a GPT-Live session of the offer, and attach to it."""

    def __init__(self, http: aiohttp.ClientSession, url: URL, key: str | None) -> None:
        super().__init__(http, url, key)
        self._where = url
        self._client = AsyncOpenAI(base_url=str(url.parent.parent), api_key=key)

    async def place(self, offer_sdp: str, session: Mapping[str, object]) -> Placed:
        names: dict[str, Any] = {"client": self._client, "offer": offer_sdp}
        async with self._client:
            await run(only("docs/live.md", "python")[0], names)
        return Placed(names["answer"], self._where / names["made"].session.id)


def test_a_server_places_the_call_of_its_page_and_watches_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving(tmp_path) as server:
            (server.folder / "broker.py").write_text(block(PAGE, "broker.py"))
            async with (
                application(server, "broker.py", free_tcp_port()) as (url, printed),
                calling_at(f"{url}/call", None, patience_s=PATIENCE_S) as call,
            ):
                while not (line := await printed.readline()).startswith(b"rtc_"):
                    assert line, "the broker has ended"
                call_id, kind = line.decode().split()
                assert kind == "session.created"
                await until(lambda: call.record.events)
                async with AsyncOpenAI(base_url=f"{server.url}/v1", api_key=server.key) as client:
                    await client.realtime.calls.hangup(call_id)
            assert await server.ended("hangup") == 1

    asyncio.run(scenario())


def test_the_sideband_of_the_page_steers_a_call_to_its_end(tmp_path: Path) -> None:
    (code,) = [each for each in only("docs/signaling.md", "python") if "connect(call_id=" in each]

    async def scenario() -> None:
        async with (
            serving(tmp_path) as server,
            calling_at(f"{server.url}/v1/realtime/calls", server.key, patience_s=PATIENCE_S) as call,
            AsyncOpenAI(base_url=f"{server.url}/v1", api_key=server.key) as client,
        ):
            call_id = call.record.session_id
            assert call_id is not None
            steering = asyncio.create_task(run(code.replace("rtc_1-…", call_id), {"client": client}))
            await until(lambda: any(event.type == "session.updated" for event in call.record.events))
            await client.realtime.calls.hangup(call_id)
            await steering

    asyncio.run(scenario())


def test_a_live_session_is_made_and_attached_to_as_the_page_has_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with (
            serving(tmp_path) as server,
            calling_at(f"{server.url}/v1/live/sessions", server.key, ByPage, PATIENCE_S) as call,
        ):
            await until(lambda: call.record.events)
            assert call.record.events[0].type == "session.started"

    asyncio.run(scenario())

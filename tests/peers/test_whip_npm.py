"""whip-whep in a browser: a publisher that knows WHIP, and nothing of the Realtime API."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest

from tests.browser.driver import Browser
from tests.decoding import decode
from tests.peers.front import Front
from tests.peers.packages import visiting
from tests.peers.test_agents_npm import spoken
from tests.sound import likeness_in_pieces
from tests.transceiver.backends.clerk.kit import words

pytestmark = pytest.mark.browser

SOUNDS = {"name": words("call me robert"), "who": words("who am i")}
PATIENCE_S = 30.0
LEAST_LIKENESS = 0.3
"""Other words come to 0.2; these are the first of a call, while the browser still sets its jitter buffer."""
TRANSCRIBED = "conversation.item.input_audio_transcription.completed"


@asynccontextmanager
async def watching(front: Front, call: str) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    """A sideband: a publisher has no event channel of its own."""
    headers = {"Authorization": f"Bearer {front.key}"}
    url = f"{front.url}/realtime?call_id={call.rpartition('/')[2]}"
    async with aiohttp.ClientSession(headers=headers) as http, http.ws_connect(url) as sideband:
        yield sideband


async def until(sideband: aiohttp.ClientWebSocketResponse, kind: str) -> Any:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            event = await sideband.receive_json()
            assert event["type"] != "error", event
            if event["type"] == kind:
                return event


async def publish(page: Browser, front: Front, direction: str) -> str:
    """Where the call is."""
    url = json.dumps(f"{front.url}/realtime/calls")
    call = await page.evaluate(f"return await publish({direction!r}, {url}, {json.dumps(front.key)})")
    await page.wait_for("pc.connectionState === 'connected'")
    return str(call)


async def says_its_name_and_restarts(page: Browser, front: Front, call: str) -> None:
    async with watching(front, call) as sideband:
        await page.evaluate("await say('name')")
        assert (await until(sideband, TRANSCRIBED))["transcript"] == "call me robert"
        await until(sideband, "output_audio_buffer.stopped")
        assert await page.evaluate("return received()") == 0

        before = await page.evaluate("return ufrag()")
        await page.evaluate("await whip.restart()")
        assert await page.evaluate("return ufrag()") != before
        await page.wait_for("pc.iceConnectionState === 'connected' && pc.connectionState === 'connected'")
        await page.evaluate("await say('who')")
        assert (await until(sideband, TRANSCRIBED))["transcript"] == "who am i"


def test_a_publisher_is_heard_restarts_ice_and_leaves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Of two candidates after a restart its SDP has the second on a line with a comma before it, which no
    # browser reads. So this is a host with one address.
    monkeypatch.setattr("transceiver.demo.host._has_ipv6", lambda: False)

    async def scenario() -> None:
        async with visiting(tmp_path, "whip.js", "clerk", SOUNDS) as (page, front):
            call = await publish(page, front, "sendonly")
            await says_its_name_and_restarts(page, front, call)
            requests = [tuple(each) for each in await page.evaluate("return voxpop.requests")]
            assert requests[0] == ("POST", 201, None, '"0"')
            restart = requests.index(("PATCH", 200, "*", '"1"'))
            assert set(requests[1:restart]) == {("PATCH", 204, '"0"', None)}
            assert set(requests[restart + 1 :]) <= {("PATCH", 204, '"1"', None)}
            await page.evaluate("await whip.stop()")
            assert await status_of(front, call) == 404

            call = await publish(page, front, "sendrecv")
            async with watching(front, call) as sideband:
                await page.evaluate("record(); await say('name')")
                await until(sideband, "output_audio_buffer.stopped")
            heard = decode(base64.b64decode(await page.evaluate("return await recorded()")))
            assert likeness_in_pieces(np.trim_zeros(await spoken("Hello, Robert.")), heard) > LEAST_LIKENESS

    asyncio.run(scenario())


async def status_of(front: Front, call: str) -> int:
    headers = {"Authorization": f"Bearer {front.key}"}
    async with aiohttp.ClientSession(headers=headers) as http, http.get(call) as response:
        return response.status

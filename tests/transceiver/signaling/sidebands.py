"""A sideband as a server has one, for tests of several modules."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from tests.transceiver.host_kit import CALLS, Host

PATIENCE_S = 20.0
KEY = "openai-insecure-api-key."


def run(scenario: Coroutine[Any, Any, None]) -> None:
    async def in_time() -> None:
        async with asyncio.timeout(2 * PATIENCE_S):
            await scenario

    asyncio.run(in_time())


def url(host: Host, path: str) -> str:
    return f"http://{host.address}:{host.http}/v1/realtime?call_id={path.removeprefix(CALLS + '/')}"


@asynccontextmanager
async def sideband(
    host: Host,
    path: str,
    key: str | None = "alice",
    headers: Mapping[str, str] | None = None,
    protocols: tuple[str, ...] = (),
) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    """A connection of its own, so that either process may get it. Raises WSServerHandshakeError."""
    sent = dict(headers or {})
    if key is not None:
        sent["Authorization"] = f"Bearer {host.keys.get(key, key)}"
    async with (
        aiohttp.ClientSession() as client,
        client.ws_connect(url(host, path), headers=sent, protocols=protocols) as socket,
    ):
        yield socket


async def refused(host: Host, path: str, *arguments: Any, **options: Any) -> int:
    try:
        async with sideband(host, path, *arguments, **options):
            raise AssertionError("it was taken")
    except aiohttp.WSServerHandshakeError as error:
        return error.status


async def event(socket: aiohttp.ClientWebSocketResponse, kind: str) -> Any:
    """The next event of that type; others are passed over."""
    while True:
        found = json.loads(await socket.receive_str(timeout=PATIENCE_S))
        if found["type"] == kind:
            return found


async def update(socket: aiohttp.ClientWebSocketResponse, **session: object) -> None:
    await socket.send_str(json.dumps({"type": "session.update", "event_id": "mine", "session": session}))

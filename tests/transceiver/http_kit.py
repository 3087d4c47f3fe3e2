"""Our HTTP server in this process, and clients that say what they like."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager

from aiohttp import web

from core.service.http_server import HEADER_S, Bounds
from transceiver.host.http_server import HttpServer
from transceiver.host.status_client import StatusClient
from transceiver.observer import NullObserver

PATIENCE_S = 30.0
CLIENT = StatusClient()


def run_with_client(scenario: Callable[[], Coroutine[object, object, None]]) -> None:
    """One on a loop of its own, with a CLIENT that is gone with it."""

    async def whole() -> None:
        try:
            await scenario()
        finally:
            await CLIENT.close()

    asyncio.run(whole())


@asynccontextmanager
async def serving(app: web.Application, header_s: float = HEADER_S) -> AsyncIterator[int]:
    """The port of 127.0.0.1 where it is."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = HttpServer(app, NullObserver(), Bounds(header_s=header_s))
    await server.start(listener)
    try:
        yield listener.getsockname()[1]
    finally:
        await server.close()


async def heard_until_closed(port: int, said: bytes) -> bytes:
    """What comes back for bytes that need not be HTTP, until the other side closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(said)
        async with asyncio.timeout(PATIENCE_S):
            return await reader.read()
    finally:
        writer.close()

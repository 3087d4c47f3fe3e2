"""Clients that ask before they send a body, on real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Coroutine

import pytest
from aiohttp import web

from core.service.expect import CONTINUE, read_body_untrusted
from core.service.http_server import BoundedServer, Bounds

PATIENCE_S = 20.0
BODY = b"body"


def head(path: str, *lines: bytes, version: bytes = b"1.1") -> bytes:
    fields = (b"Host: x", b"Connection: close", b"Content-Length: %d" % len(BODY), *lines)
    return b"POST %s HTTP/%s\r\n" % (path.encode(), version) + b"\r\n".join(fields) + b"\r\n\r\n"


ASKING = b"Expect: 100-Continue"


async def wanted(request: web.Request) -> web.Response:
    return web.Response(body=b"read " + await read_body_untrusted(request))


async def unwanted(_: web.Request) -> web.Response:
    raise web.HTTPTooManyRequests


def run(
    scenario: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[object, object, None]],
) -> None:
    async def whole() -> None:
        app = web.Application()
        app.router.add_post("/wanted", wanted)
        app.router.add_post("/unwanted", unwanted)
        server = BoundedServer(app, Bounds())
        listener = socket.create_server(("127.0.0.1", 0))
        await server.start(listener)
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        try:
            async with asyncio.timeout(PATIENCE_S):
                await scenario(reader, writer)
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
            await server.close()

    asyncio.run(whole())


def test_who_asks_is_told_to_send_what_is_wanted() -> None:
    async def scenario(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(head("/wanted", ASKING))
        assert await reader.readexactly(len(CONTINUE)) == CONTINUE
        writer.write(BODY)
        answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 200")
        assert answer.endswith(b"read body")
        assert CONTINUE not in answer

    run(scenario)


@pytest.mark.parametrize(
    ("request_head", "status"),
    [
        (head("/unwanted", ASKING), b"429"),
        (head("/nowhere", ASKING), b"404"),
        (head("/wanted", ASKING).replace(b"POST", b"PUT"), b"405"),
        (head("/wanted", b"Expect: tea"), b"417"),
    ],
    ids=["refused", "nowhere", "another method", "another expectation"],
)
def test_who_is_refused_is_told_so_and_nothing_else(request_head: bytes, status: bytes) -> None:
    async def scenario(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(request_head)
        answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 " + status), "not 100 first"
        assert b"Connection: close" in answer

    run(scenario)


@pytest.mark.parametrize(
    "said",
    [head("/wanted", ASKING) + BODY, head("/wanted", ASKING, version=b"1.0") + BODY, head("/wanted") + BODY],
    ids=["sending already", "HTTP/1.0", "not asking"],
)
def test_who_does_not_wait_is_told_nothing_in_between(said: bytes) -> None:
    async def scenario(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        answer = await reader.read()
        assert b" 200 OK" in answer.splitlines()[0]
        assert answer.endswith(b"read body")

    run(scenario)

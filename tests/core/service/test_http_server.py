"""A bounded server and clients that want more of it than they should: real sockets, bytes as they are."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, field

import pytest
from aiohttp import ClientSession, web

from core.service.connections import Phase
from core.service.http_server import MAX_THROWN_AWAY, SLICE, BoundedServer, Bounds, Cut, WastefulBodyError

PATIENCE_S = 20.0
GET = b"GET /quick HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST /read HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody"
CHUNKED = b"POST /read HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
HELD = {
    "slow header": b"GET /quick HTTP/1.1\r\nX: ",
    "a request now and then": GET,
    "slow body": b"POST /read HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nb",
}


@dataclass
class Served:
    """A server in this process, and what its handlers saw."""

    bounds: Bounds
    port: int = 0
    read: list[int] = field(default_factory=list)
    """Bytes of each body that had come when its handler was done."""
    working: asyncio.Event = field(default_factory=asyncio.Event)
    may_end: asyncio.Event = field(default_factory=asyncio.Event)
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    async def quick(self, request: web.Request) -> web.Response:
        self.read.append(request.content.total_bytes)
        return web.Response(text="quick")

    async def whole(self, request: web.Request) -> web.Response:
        try:
            await request.read()
        except WastefulBodyError:
            return web.Response(status=400, text="wasteful")
        finally:
            self.read.append(request.content.total_bytes)
        return web.Response(text="read")

    async def slow(self, _: web.Request) -> web.Response:
        self.working.set()
        await self.may_end.wait()
        return web.Response(text="at last")

    async def long(self, _: web.Request) -> web.Response:
        return web.Response(body=bytes(32 * 1024 * 1024))

    async def echo(self, request: web.Request) -> web.WebSocketResponse:
        connected = web.WebSocketResponse()
        await connected.prepare(request)
        async for message in connected:
            await connected.send_str(message.data)
        return connected

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/quick", self.quick)
        app.router.add_post("/quick", self.quick)
        app.router.add_post("/read", self.whole)
        app.router.add_get("/slow", self.slow)
        app.router.add_get("/long", self.long)
        app.router.add_get("/echo", self.echo)
        return app

    async def connect(self, said: bytes = b"") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.writers.append(writer)
        writer.write(said)
        return reader, writer

    async def ask(self, said: bytes) -> bytes:
        """All that is answered until the other side closes."""
        reader, _ = await self.connect(said)
        return await reader.read()


@contextlib.asynccontextmanager
async def serving(bounds: Bounds) -> AsyncIterator[tuple[Served, BoundedServer]]:
    served = Served(bounds)
    server = BoundedServer(served.app(), bounds)
    listener = socket.create_server(("127.0.0.1", 0))
    await server.start(listener)
    served.port = listener.getsockname()[1]
    try:
        async with asyncio.timeout(PATIENCE_S):
            yield served, server
    finally:
        served.may_end.set()
        for writer in served.writers:
            writer.close()
        await server.close()


def run(bounds: Bounds, scenario: Callable[[Served, BoundedServer], Coroutine[object, object, None]]) -> None:
    async def whole() -> None:
        async with serving(bounds) as (served, server):
            await scenario(served, server)

    asyncio.run(whole())


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - what the other side of a socket does is no event
        await asyncio.sleep(0.005)


def closing(request: bytes) -> bytes:
    return request.replace(b"Host: x", b"Host: x\r\nConnection: close")


@pytest.mark.parametrize("said", HELD.values(), ids=HELD)
def test_connections_that_are_held_keep_nobody_out(said: bytes) -> None:
    """All that there may be; more were closed as they came, until the holder let go."""

    async def scenario(served: Served, server: BoundedServer) -> None:
        for _ in range(8):
            await served.connect(said)
        await until(lambda: len(server.table) == 8)
        for _ in range(3):
            answer = await served.ask(closing(POST))
            assert answer.endswith(b"read")
        assert (server.cuts[Cut.GAVE_WAY], server.cuts[Cut.FULL]) == (1, 0), "one place is enough"

    run(Bounds(connections=8), scenario)


def test_who_is_worked_for_stays() -> None:
    async def scenario(served: Served, server: BoundedServer) -> None:
        async with ClientSession() as client, client.ws_connect(f"http://127.0.0.1:{served.port}/echo") as ws:
            slow, _ = await served.connect(GET.replace(b"quick", b"slow"))
            await served.working.wait()
            assert await served.ask(closing(GET)) == b""
            assert server.cuts == {Cut.FULL: 1}
            served.may_end.set()
            assert b"200 OK" in await slow.readline()
            await ws.send_str("still here")
            assert await ws.receive_str() == "still here"
            assert server.table.counts[Phase.WEBSOCKET] == 1

    run(Bounds(connections=2), scenario)


def test_a_crowd_at_one_address_gives_way_to_itself() -> None:
    async def scenario(served: Served, server: BoundedServer) -> None:
        first, _ = await served.connect(GET)
        await first.readuntil(b"quick")
        for _ in range(2):
            await served.connect()
        assert await first.read() == b""
        assert server.cuts == {Cut.CROWD: 1}
        served.bounds.is_trusted = lambda address: address == "127.0.0.1"
        for _ in range(3):
            await served.connect()
        await until(lambda: len(server.table) == 5)
        assert server.cuts == {Cut.CROWD: 1}, "a proxy's connections are many clients'"

    run(Bounds(per_address=2), scenario)


def test_one_byte_chunks_are_not_read_to_their_end() -> None:
    """130,000 of them took 84 ms of the event loop, which is 0.6 µs each."""

    async def scenario(served: Served, server: BoundedServer) -> None:
        answer = await served.ask(CHUNKED + b"1\r\na\r\n" * 130_000 + b"0\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 400")
        assert b"Connection: close" in answer
        assert answer.endswith(b"wasteful")
        assert served.read[0] <= 4 * SLICE // 6, "chunks that were read"
        assert server.cuts == {Cut.WASTEFUL: 1}

    run(Bounds(), scenario)


@pytest.mark.parametrize("size", [1, 24, 1000])
def test_chunks_as_clients_write_them(size: int) -> None:
    length = 600 if size == 1 else 100 * 1024

    async def scenario(served: Served, server: BoundedServer) -> None:
        chunk = b"%x\r\n" % size + b"a" * size + b"\r\n"
        answer = await served.ask(closing(CHUNKED) + chunk * (length // size) + b"0\r\n\r\n")
        assert answer.endswith(b"read")
        assert served.read == [length // size * size]

    run(Bounds(), scenario)


@pytest.mark.parametrize(
    "head",
    [
        CHUNKED.replace(b"/read", b"/quick"),
        b"POST /quick HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\n\r\n",
    ],
    ids=["chunked", "of a length"],
)
def test_what_is_answered_without_its_body_is_not_read_on(head: bytes) -> None:
    """The answer arrives all the same: who is still sending is not reset before a bound is reached."""

    async def scenario(served: Served, server: BoundedServer) -> None:
        reader, writer = await served.connect(head)
        answer = await reader.readuntil(b"quick")
        assert b"Connection: close" in answer
        assert await reader.read() == b"", "nothing more will be said, which the client is told at once"
        [entry] = server.table.overdue(Phase.REFUSED, 0, 1 << 62)
        with contextlib.suppress(ConnectionError):
            for _ in range(MAX_THROWN_AWAY // 0x8000 + 8):
                writer.write(b"8000\r\n" + b"a" * 0x8000 + b"\r\n")
                await writer.drain()
        await until(lambda: len(server.table) == 0)
        assert entry.phase is Phase.REFUSED
        assert served.read == [0]

    run(Bounds(), scenario)


def test_a_connection_stays_where_its_body_was_whole() -> None:
    async def scenario(served: Served, _: BoundedServer) -> None:
        answer = await served.ask(POST.replace(b"/read", b"/quick") * 2 + closing(POST))
        assert answer.count(b"HTTP/1.1 200") == 3

    run(Bounds(), scenario)


def test_a_header_of_megabytes() -> None:
    async def scenario(served: Served, server: BoundedServer) -> None:
        lines = b"".join(b"X-%d: " % number + b"a" * 4_000 + b"\r\n" for number in range(20))
        answer = await served.ask(b"GET /quick HTTP/1.1\r\nHost: x\r\n" + lines)
        assert answer.startswith(b"HTTP/1.1 431")
        assert server.cuts == {Cut.HEADER_TOO_LONG: 1}

    run(Bounds(), scenario)


@pytest.mark.parametrize(
    ("bounds", "said", "why"),
    [
        pytest.param(Bounds(body_s=0.1), HELD["slow body"], Cut.BODY_LATE, id="body"),
        pytest.param(Bounds(answer_s=0.1), GET.replace(b"quick", b"long"), Cut.ANSWER_LATE, id="answer"),
    ],
)
def test_deadlines_are_for_the_whole(bounds: Bounds, said: bytes, why: Cut) -> None:
    async def scenario(served: Served, server: BoundedServer) -> None:
        await served.connect(said)
        await until(lambda: bool(server.cuts))
        assert server.cuts == {why: 1}
        await until(lambda: len(server.table) == 0)

    run(bounds, scenario)

"""An HTTP server of aiohttp whose connections are bounded: in number, by address, in time and in work.

aiohttp closes who has not sent a whole header in time, and bounds lines and headers. What it leaves open is
done here, at its protocol: who gives way when there is no room, how long an answer may take to be taken, what
chunks may cost, and that what comes after a refusal is not read.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import resource
import socket
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, cast

from aiohttp import StreamReader, web
from aiohttp.http import WebSocketReader

from core.addr import Endpoint
from core.service.connections import ConnectionTable, Entry, Phase, Room, source_of
from core.service.expect import deferring

MAX_CONNECTIONS: Final = 1_024
SPARE_FILES: Final = 8
"""Descriptors that connections leave free: were they to take the last, libuv would close connections without
a word, and nothing else could be opened."""
MAX_CLOSING: Final = 64
HEADER_S: Final = 20.0
"""For a whole header, from the connection's beginning or the end of the answer before."""
BODY_S: Final = 15.0
"""For a whole body, where the handler has no limit of its own."""
ANSWER_S: Final = 20.0
LINGER_S: Final = 1.0
MAX_THROWN_AWAY: Final = 256 * 1024
"""Bytes that are taken after a refusal. Were the connection closed before a client has sent what it was
sending, the reset would overtake the answer."""
MAX_HEADER_BYTES: Final = 32 * 1024
SLICE: Final = 8 * 1024
"""What is parsed before it is asked whether that goes too far: 1,400 chunks of a byte, a millisecond."""
MAX_CHUNK_OVERHEAD: Final = 8 * 1024
SWEEP_S: Final = 1.0
HEADER_TOO_LONG: Final = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
)

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class Cut(StrEnum):
    """Why a server has closed a connection; a metric label."""

    GAVE_WAY = "gave_way"
    """There was no room for another."""
    CROWD = "crowd"
    """There was none for another of its address."""
    FULL = "full"
    """As it came: nobody could give way."""
    BODY_LATE = "body_late"
    ANSWER_LATE = "answer_late"
    HEADER_TOO_LONG = "header_too_long"
    WASTEFUL = "wasteful"
    """More of a body was chunks' overhead than may be."""


class WastefulBodyError(web.RequestPayloadError):
    """A body in chunks so small that reading them costs more than what is in them is worth."""


@dataclass(slots=True)
class Bounds:
    """Of one server. May be changed while it runs."""

    connections: int = MAX_CONNECTIONS
    per_address: int | None = None
    """None is any number."""
    is_trusted: Callable[[str], bool] = lambda _: False
    """Whether an address is a proxy's, whose connections are many clients'."""
    header_s: float = HEADER_S
    body_s: float = BODY_S
    answer_s: float = ANSWER_S


class BoundedServer:
    """Serves one application on sockets that are listening already."""

    def __init__(
        self,
        app: web.Application,
        bounds: Bounds,
        *,
        logger: logging.Logger | None = None,
        shutdown_s: float = 1.0,
        on_cut: Callable[[Cut], None] = lambda _: None,
    ) -> None:
        self.bounds = bounds
        self.table = ConnectionTable()
        self.cuts: Counter[Cut] = Counter()
        self._on_cut = on_cut
        self._options = {
            "keepalive_timeout": bounds.header_s,
            "auto_decompress": False,
            "lingering_time": 0.0,
        }
        self._logger = logger
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=shutdown_s)
        self._connections: dict[Entry, Connection] = {}
        self._server: asyncio.Server | None = None
        self._sweeping: asyncio.TimerHandle | None = None
        self._descriptors = 0
        """That were open before the first connection, and those that other things of this process need."""

    async def start(self, at: socket.socket | Endpoint) -> Endpoint | None:
        """Accept connections at a socket that is listening, or at an address; which it is, with its port. May
        raise OSError, and is closed then.
        """
        await self._runner.setup()
        self._web.request_handler = self._noted(self._web.request_handler)
        self._web.request_factory = deferring(self._web.request_factory)
        self._descriptors = len(os.listdir("/proc/self/fd")) + SPARE_FILES  # noqa: PTH208 - of /proc
        try:
            self._server = await self._listen(at)
        except OSError:
            await self._runner.cleanup()
            raise
        self._sweeping = asyncio.get_running_loop().call_later(SWEEP_S, self._sweep)
        name = self._server.sockets[0].getsockname()
        return Endpoint(*name[:2]) if isinstance(name, tuple) else None

    async def _listen(self, at: socket.socket | Endpoint) -> asyncio.Server:
        loop = asyncio.get_running_loop()
        if isinstance(at, Endpoint):
            return await loop.create_server(self._protocol, at.host, at.port)
        create = loop.create_unix_server if at.family == socket.AF_UNIX else loop.create_server
        return await create(self._protocol, sock=at)

    async def close(self) -> None:
        """Stop accepting, let running requests end within `shutdown_s`."""
        if self._server is not None:
            self._server.close()
        await self._runner.cleanup()
        if self._sweeping is not None:
            self._sweeping.cancel()

    @property
    def most(self) -> int:
        """Connections that there may be."""
        left = resource.getrlimit(resource.RLIMIT_NOFILE)[0] - self._descriptors
        return min(self.bounds.connections, left)

    def room(self) -> Room:
        """What the table may hold at this moment."""
        left = resource.getrlimit(resource.RLIMIT_NOFILE)[0] - self._descriptors
        spare = max(SPARE_FILES // 2, left - self.bounds.connections)
        return Room(self.most, self.bounds.per_address, min(MAX_CLOSING, spare))

    def admit(self, connection: Connection, address: str | None) -> Entry | None:
        """Its entry, and whoever has to gives way; None where there is no room."""
        is_counted = address is not None and not self.bounds.is_trusted(address)
        room, before = self.room(), len(self.table)
        entry, victim = self.table.admit(
            source_of(address) if is_counted else None, room, time.monotonic_ns()
        )
        if victim is not None:
            self.cut(victim, Cut.GAVE_WAY if before >= room.connections else Cut.CROWD)
        if entry is None:
            self.count(Cut.FULL)
        else:
            self._connections[entry] = connection
        return entry

    def cut(self, entry: Entry, why: Cut) -> None:
        """Close a connection now."""
        self.count(why)
        self._connections[entry].abort()

    def count(self, why: Cut) -> None:
        """A connection is closed by us."""
        self.cuts[why] += 1
        self._on_cut(why)

    def lost(self, entry: Entry) -> None:
        """Its descriptor is closed."""
        del self._connections[entry]
        self.table.closed(entry)

    @property
    def _web(self) -> web.Server:
        server = self._runner.server
        assert server is not None
        return server

    def _protocol(self) -> asyncio.BaseProtocol:
        return Connection(self, self._web, self._options | ({"logger": self._logger} if self._logger else {}))

    def _noted(self, handle: Handler) -> Handler:
        async def noted(request: web.BaseRequest) -> web.StreamResponse:
            connection = request.protocol
            assert isinstance(connection, Connection)
            connection.begin(request)
            return await handle(request)

        return noted

    def _sweep(self) -> None:
        """Close who has had the time that there is for a body or an answer."""
        now_ns = time.monotonic_ns()
        limits = {
            Phase.BODY: (self.bounds.body_s, Cut.BODY_LATE),
            Phase.ANSWER: (self.bounds.answer_s, Cut.ANSWER_LATE),
        }
        for phase, (limit_s, why) in limits.items():
            for entry in self.table.overdue(phase, int(limit_s * 1e9), now_ns):
                self.cut(entry, why)
        self._sweeping = asyncio.get_running_loop().call_later(SWEEP_S, self._sweep)


class Connection(web.RequestHandler):
    """One connection: aiohttp's, and what the table has to know of it."""

    __slots__ = ("_body", "_entry", "_header_bytes", "_lingering", "_owner", "_thrown_away", "_wire_bytes")

    def __init__(self, owner: BoundedServer, server: web.Server, options: Mapping[str, object]) -> None:
        loop = asyncio.get_running_loop()
        super().__init__(server, loop=loop, access_log=None, **options)  # type: ignore[arg-type]
        self._owner = owner
        self._entry: Entry | None = None
        self._header_bytes = 0
        """Of the header that is not whole yet."""
        self._body: StreamReader | None = None
        """That of the newest request, which may still be coming."""
        self._wire_bytes = 0
        """What has come since its header, with what chunks add to it."""
        self._thrown_away: int | None = None
        """None as long as what comes is read."""
        self._lingering: asyncio.Future[None] | None = None

    # What aiohttp calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Come in, where there is room."""
        peer = transport.get_extra_info("peername")
        self._entry = self._owner.admit(self, peer[0] if isinstance(peer, tuple) else None)
        if self._entry is None:
            cast(asyncio.WriteTransport, transport).abort()  # uvloop's is none by inheritance
        else:
            super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """It is gone, whoever has ended it."""
        if self._entry is not None:
            self._owner.lost(self._entry)
            self._end_lingering()
            super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read it in slices, and no further than it is to be read."""
        if not data or self._is(Phase.WEBSOCKET):
            super().data_received(data)  # without data it goes on with what it has kept
            return
        for start in range(0, len(data), SLICE):
            if self._thrown_away is not None:
                self._throw_away(len(data) - start)
                return
            self._read(data[start : start + SLICE])

    def set_parser(self, parser: WebSocketReader, data_received_cb: Callable[[], None] | None = None) -> None:
        """It is a WebSocket from now on."""
        self._move(Phase.WEBSOCKET)
        super().set_parser(parser, data_received_cb)

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send an answer. Of a request whose body is not whole by then, no more is read."""
        self._move(Phase.ANSWER)
        if not request.content.is_eof():
            self._thrown_away = self._thrown_away or 0
            resp.force_close()
        finished = await super().finish_response(request, resp, start_time)
        if self._thrown_away is None:
            self._header_bytes = 0
            self._move(Phase.IDLE)
        else:
            await self._linger()
        return finished

    # What its server calls

    def begin(self, request: web.BaseRequest) -> None:
        """A request's header is whole, and somebody works on it."""
        self._move(Phase.BUSY if request.content.is_eof() else Phase.BODY)

    def abort(self) -> None:
        """Close it now, whatever is under way."""
        if self.transport is not None:
            self.transport.abort()

    # How much is read

    def _read(self, data: bytes) -> None:
        known = len(self._messages)
        super().data_received(data)
        if len(self._messages) > known:
            self._body = self._messages[-1][1]
            self._wire_bytes = self._header_bytes = 0
            if self._is(Phase.IDLE) or self._is(Phase.HEADER):
                self._move(Phase.BUSY if self._body.is_eof() else Phase.BODY)
        elif self._body is not None and not self._body.is_eof():
            self._wire_bytes += len(data)
            self._judge_chunks(self._body)
        elif self._is(Phase.IDLE) or self._is(Phase.HEADER):
            self._count_header(len(data))
        if self._is(Phase.BODY) and self._body is not None and self._body.is_eof():
            self._move(Phase.BUSY)

    def _judge_chunks(self, body: StreamReader) -> None:
        """What is no data may be a quarter of what is, as chunks of 24 bytes have it."""
        if self._wire_bytes - body.total_bytes > MAX_CHUNK_OVERHEAD + body.total_bytes // 4:
            self._owner.count(Cut.WASTEFUL)
            self._thrown_away = 0
            body.set_exception(WastefulBodyError("chunks of a few bytes"))

    def _count_header(self, length: int) -> None:
        self._move(Phase.HEADER)
        self._header_bytes += length
        if self._header_bytes > MAX_HEADER_BYTES and self.transport is not None:
            self._owner.count(Cut.HEADER_TOO_LONG)
            self._thrown_away = 0
            self.transport.write(HEADER_TOO_LONG)
            self.force_close()

    def _throw_away(self, length: int) -> None:
        self._thrown_away = (self._thrown_away or 0) + length
        if self._thrown_away > MAX_THROWN_AWAY:
            self._end_lingering()

    async def _linger(self) -> None:
        """Give the client time to take its answer: what it still sends would have it reset."""
        self._move(Phase.REFUSED)
        is_enough = (self._thrown_away or 0) > MAX_THROWN_AWAY
        if self.transport is None or self.transport.is_closing() or is_enough:
            return
        self._lingering = asyncio.get_running_loop().create_future()
        self.transport.write_eof()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LINGER_S):
                await self._lingering

    def _end_lingering(self) -> None:
        if self._lingering is not None and not self._lingering.done():
            self._lingering.set_result(None)

    # Which phase it is in

    def _is(self, phase: Phase) -> bool:
        return self._entry is not None and self._entry.phase is phase

    def _move(self, phase: Phase) -> None:
        if self._entry is not None:
            self._owner.table.move(self._entry, phase, time.monotonic_ns())

"""WebSockets (RFC 6455): what clients ask for, and those that are passed on to the owner of their call.

A browser cannot set headers of a WebSocket, so its key comes as a subprotocol. That is why a client's list of
subprotocols is a secret here: it is in no log and no answer, and aiohttp, which logs the list when nothing of
it is known, is never asked to choose.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp
from aiohttp import web

from core.service.metrics import OTHER, counter
from transceiver.observer import Observer
from transceiver.signaling.hosts import FORWARDED
from transceiver.signaling.refusals import HttpReason, Refusal, no_such_call, owner_is_silent
from transceiver.signaling.siblings import Handed

SIDEBANDS = counter(
    "voxpop_transceiver_sidebands_total",
    "Sidebands of calls of this process that were open, by how they ended: with their call; closed by the "
    "other side, or without a pong; too slow to be told all.",
    end=("call_ended", "closed", "too_slow", OTHER),
)
PROTOCOL: Final = "realtime"
KEY_PROTOCOL: Final = "openai-insecure-api-key."
KEY_HEADER: Final = "api-key"
"""Azure's."""
MAX_BRIDGED: Final = 64
"""Of one process: as many as it has of its own with eight calls that are watched by all who may."""
MAX_BRIDGED_BYTES: Final = 4 * 1024 * 1024
OPEN_TIMEOUT_S: Final = 3.0
SEND_TIMEOUT_S: Final = 10.0
CLOSE_TIMEOUT_S: Final = 2.0
CALL_ENDED: Final = b"the call has ended"
_PROTOCOLS: Final = "Sec-WebSocket-Protocol"


def is_websocket(request: web.Request) -> bool:
    """Whether a request asks for one."""
    return request.headers.get("Upgrade", "").lower() == "websocket"


def presented_key(request: web.Request) -> str | None:
    """What a request has in place of an API key, whatever it is; None for nothing."""
    scheme, _, key = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return key.strip()
    return _websocket_key(request) if is_websocket(request) else None


def _websocket_key(request: web.Request) -> str | None:
    """By the other ways that there are for a WebSocket, and only for that."""
    key = request.headers.get(KEY_HEADER)
    if key is not None:
        return key.strip()
    offered = (each.strip() for line in request.headers.getall(_PROTOCOLS, ()) for each in line.split(","))
    found = next((each for each in offered if each.startswith(KEY_PROTOCOL)), None)
    return None if found is None else found.removeprefix(KEY_PROTOCOL)


def protocols_of(request: web.Request) -> Collection[str]:
    """What to choose from for an answer. Raises Refusal where a client offers none that we know."""
    offered = request.headers.get(_PROTOCOLS)  # the first line, which is the one that aiohttp reads
    if offered is None:
        return ()
    if PROTOCOL not in (each.strip() for each in offered.split(",")):
        what = f"Of the subprotocols that are offered, one must be {PROTOCOL}."
        raise Refusal(400, HttpReason.MALFORMED, what)
    return (PROTOCOL,)


@dataclass(frozen=True, slots=True)
class Way:
    """Where a WebSocket goes on to: a sibling by its Unix socket, or another host."""

    socket: Path | None
    origin: str
    handed: Handed
    query: Mapping[str, str]

    @property
    def is_far(self) -> bool:
        """Whether it leads to another host."""
        return self.socket is None

    def client(self) -> aiohttp.ClientSession:
        """For one WebSocket, so that these take no place of what requests go by."""
        limits = aiohttp.ClientTimeout(total=None, sock_connect=1.0)
        jar = aiohttp.DummyCookieJar()
        if self.socket is None:
            return aiohttp.ClientSession(timeout=limits, cookie_jar=jar)
        connector = aiohttp.UnixConnector(str(self.socket))
        return aiohttp.ClientSession(connector=connector, timeout=limits, cookie_jar=jar)


class Bridges:
    """The WebSockets of one process that go on to another."""

    def __init__(self, observer: Observer, heartbeat_s: float) -> None:
        self._observer = observer
        self._heartbeat_s = heartbeat_s
        self._open = 0

    async def open(self, request: web.Request, way: Way) -> web.StreamResponse:
        """Connect to the owner, then take what has come: a refusal of the owner's is one of ours. Raises
        Refusal.
        """
        protocols = protocols_of(request)
        if self._open >= MAX_BRIDGED:
            self._count(way, "too_many")
            raise owner_is_silent("process")
        self._open += 1
        try:
            async with way.client() as client, await self._connect(client, way) as there:
                here = web.WebSocketResponse(
                    protocols=protocols,
                    heartbeat=self._heartbeat_s,
                    max_msg_size=MAX_BRIDGED_BYTES,
                    compress=False,
                    timeout=CLOSE_TIMEOUT_S,
                )
                await here.prepare(request)
                await _join(here, there)
                return here
        finally:
            self._open -= 1

    async def _connect(self, client: aiohttp.ClientSession, way: Way) -> aiohttp.ClientWebSocketResponse:
        try:
            async with asyncio.timeout(OPEN_TIMEOUT_S):
                there = await client.ws_connect(
                    way.origin + way.handed.path,
                    params=way.query,
                    headers=way.handed.headers,
                    protocols=(PROTOCOL,),
                    heartbeat=self._heartbeat_s,
                    max_msg_size=MAX_BRIDGED_BYTES,
                    timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_TIMEOUT_S),
                )
        except aiohttp.WSServerHandshakeError as error:
            self._count(way, "answered")
            raise _refusal(error.status) from None
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError):
            self._count(way, "gone")
            raise (no_such_call() if way.is_far else owner_is_silent("process")) from None
        except (aiohttp.ClientError, TimeoutError):
            self._count(way, "silent")
            raise owner_is_silent("host" if way.is_far else "process") from None
        self._count(way, "answered")
        return there

    def _count(self, way: Way, result: str) -> None:
        if way.is_far:
            self._observer.count(FORWARDED, result)


def _refusal(status: int) -> Refusal:
    """What an owner refuses, in its words as far as its status tells them."""
    if status == 404:
        return no_such_call()
    if status == 401:
        what = "The call's host does not know this key."
        return Refusal(401, HttpReason.UNAUTHORIZED, what, {"WWW-Authenticate": "Bearer"})
    if status == 429:
        return Refusal(429, HttpReason.TOO_MANY_SIDEBANDS, "The call has as many sidebands as it may.")
    return owner_is_silent("process")


async def _join(here: web.WebSocketResponse, there: aiohttp.ClientWebSocketResponse) -> None:
    """Pass messages on in both directions until either side closes; then both are closed."""
    pumps = [asyncio.create_task(_pump(here, there)), asyncio.create_task(_pump(there, here))]
    try:
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for pump in pumps:
            pump.cancel()
        await asyncio.wait(pumps)
        code, words = there.close_code or here.close_code, b""
        if there.close_code == aiohttp.WSCloseCode.OK:
            words = CALL_ENDED
        await here.close(code=code or aiohttp.WSCloseCode.GOING_AWAY, message=words)
        await there.close()


_Side = web.WebSocketResponse | aiohttp.ClientWebSocketResponse


async def _pump(source: _Side, sink: _Side) -> None:
    """Messages of one side to the other. One that does not read is given up."""
    async for message in source:
        try:
            async with asyncio.timeout(SEND_TIMEOUT_S):
                if message.type is aiohttp.WSMsgType.TEXT:
                    await sink.send_str(message.data)
                elif message.type is aiohttp.WSMsgType.BINARY:
                    await sink.send_bytes(message.data)
        except (ConnectionError, TimeoutError):
            return

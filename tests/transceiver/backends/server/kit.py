"""A server of backends in this process, and a client that says what it likes."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
import numpy as np

from core.addr import Endpoint
from tests.sound import Samples
from transceiver.backends.parrot import Parrots
from transceiver.backends.server.app import PING_S, Access, Server
from transceiver.backends.server.contract import ServedBackend
from transceiver.backends.server.driven import DrivenBackend
from transceiver.backends.server.process import Listener
from transceiver.realtime.event import Event
from transceiver.turns.settings import ServerVad

PATIENCE_S = 30.0
LOOPBACK = Endpoint("127.0.0.1", 0)


def samples(pcm: bytes) -> Samples:
    """As numbers."""
    return np.frombuffer(pcm, "<i2")


def parrots(speed: float | None = None) -> DrivenBackend:
    return DrivenBackend(Parrots(ServerVad()), time.monotonic_ns, speed)


@dataclass
class Served:
    """A server that runs."""

    server: Server
    at: Endpoint

    @property
    def url(self) -> str:
        return f"ws://{self.at}/v1/realtime"


@asynccontextmanager
async def serving(
    backend: ServedBackend,
    access: Access | None = None,
    ping_s: float = PING_S,
    connections: int = 64,
    at: Endpoint = LOOPBACK,
) -> AsyncIterator[Served]:
    server = Server(backend, access or Access(None, 8), ping_s)
    listener = Listener(server.app(), connections)
    await backend.start()
    try:
        yield Served(server, await listener.start(at))
    finally:
        server.end_all()
        await listener.close()
        await backend.close()


@dataclass
class Talk:
    """One conversation by WebSocket."""

    socket: aiohttp.ClientWebSocketResponse
    events: list[Event] = field(default_factory=list)

    async def send(self, kind: str, **members: object) -> None:
        await self.socket.send_json({"type": kind, **members})

    async def append(self, encoded: bytes) -> None:
        await self.send("input_audio_buffer.append", audio=base64.b64encode(encoded).decode())

    async def receive(self) -> Event:
        async with asyncio.timeout(PATIENCE_S):
            message = await self.socket.receive()
        assert message.type is aiohttp.WSMsgType.TEXT, message
        event: Event = json.loads(message.data)
        self.events.append(event)
        return event

    async def until(self, kind: str) -> Event:
        """The next of a type; those before it are in `events`."""
        while (event := await self.receive())["type"] != kind:
            pass
        return event

    async def ask(self, kind: str, answer: str, **members: object) -> Event:
        await self.send(kind, **members)
        return await self.until(answer)

    def kinds(self) -> list[object]:
        return [event["type"] for event in self.events]

    def audio(self) -> bytes:
        """All that was spoken, as it was encoded."""
        deltas = [event["delta"] for event in self.events if event["type"] == "response.output_audio.delta"]
        return b"".join(base64.b64decode(str(delta)) for delta in deltas)


@asynccontextmanager
async def talking(
    url: str,
    *,
    protocols: tuple[str, ...] = (),
    headers: Mapping[str, str] | None = None,
    autoping: bool = True,
) -> AsyncIterator[Talk]:
    async with (
        aiohttp.ClientSession() as http,
        http.ws_connect(
            url, protocols=protocols, headers=headers, autoping=autoping, max_msg_size=0, compress=0
        ) as socket,
    ):
        yield Talk(socket)

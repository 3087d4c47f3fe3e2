"""A backend of the Realtime protocol that does as a test's script says: a WebSocket server on loopback."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any

from aiohttp import WSMsgType, web

from tests.ports import free_tcp_port
from tests.tones import voice


class Line:
    """One connection of a client, from the server's side."""

    def __init__(self, socket: web.WebSocketResponse, request: web.Request) -> None:
        self.socket = socket
        self.request = request
        self.received: list[dict[str, Any]] = []

    async def say(self, kind: str, **members: object) -> None:
        await self.socket.send_json({"type": kind, "event_id": "event_b", **members})

    async def next(self) -> dict[str, Any] | None:
        """The client's next event; None when it has closed."""
        async for message in self.socket:
            if message.type is WSMsgType.TEXT:
                self.received.append(json.loads(message.data))
                return self.received[-1]
        return None

    async def until(self, kind: str) -> dict[str, Any] | None:
        """The client's next event of a kind."""
        while (event := await self.next()) is not None and event["type"] != kind:
            pass
        return event

    async def greet(self) -> None:
        """What a good server begins with."""
        await self.say("session.created", session={"id": "sess_1", "type": "realtime"})
        await self.until("session.update")
        await self.say("session.updated", session={})

    async def respond(self, pcm: bytes, delta_ms: int = 100, response_id: str = "resp_1") -> None:
        """A whole response, as fast as it can be sent."""
        item_id = f"item_{response_id}"
        await self.say("response.created", response={"id": response_id, "status": "in_progress"})
        await self.speak(pcm, delta_ms, response_id)
        await self.say("response.output_audio.done", **place(response_id, item_id))
        await self.say("response.done", response={"id": response_id, "status": "completed"})

    async def speak(self, pcm: bytes, delta_ms: int = 100, response_id: str = "resp_1") -> None:
        """Its audio alone."""
        size = 48 * delta_ms
        for start in range(0, len(pcm), size):
            await self.delta(base64.b64encode(pcm[start : start + size]).decode(), response_id)

    async def delta(self, audio: str, response_id: str = "resp_1") -> None:
        await self.say(
            "response.output_audio.delta", **place(response_id, f"item_{response_id}"), delta=audio
        )

    async def to_the_end(self) -> None:
        """Read until the client has closed."""
        while await self.next() is not None:
            pass


def place(response_id: str, item_id: str) -> dict[str, object]:
    return {"response_id": response_id, "item_id": item_id, "output_index": 0, "content_index": 0}


Script = Callable[[Line], Awaitable[None]]


class Server:
    """Runs a script for each connection, `scripts` in turn and then the last again."""

    def __init__(self, scripts: tuple[Script, ...], port: int) -> None:
        self._scripts = scripts
        self.port = port
        self.lines: list[Line] = []
        self.connected = asyncio.Event()
        self.statuses: list[int] = []
        """What to refuse the next connections with."""

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/v1/realtime"

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if self.statuses:
            return web.Response(status=self.statuses.pop(0))
        socket = web.WebSocketResponse(protocols=("realtime",), autoping=True)
        await socket.prepare(request)
        line = Line(socket, request)
        script = self._scripts[min(len(self.lines), len(self._scripts) - 1)]
        self.lines.append(line)
        self.connected.set()
        with suppress(ConnectionError):  # the client was faster
            await script(line)
        await socket.close()
        return socket


@asynccontextmanager
async def serving(*scripts: Script, tls: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    """Such a server, until the end of the block."""
    server = Server(scripts, free_tcp_port())
    app = web.Application()
    app.router.add_get("/v1/realtime", server.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", server.port, ssl_context=tls).start()
        yield server
    finally:
        for line in server.lines:
            await line.socket.close()
        await runner.cleanup()


def run(coroutine: Coroutine[Any, Any, None]) -> None:
    """A test's scenario."""
    asyncio.run(coroutine)


TONE = voice(1200, 1.0).tobytes()


async def talkative(line: Line) -> None:
    """Says a second at once, then listens."""
    await line.greet()
    await line.respond(TONE)
    await line.to_the_end()


async def echo(line: Line) -> None:
    """Says each turn back, as fast as it can be sent."""
    await line.greet()
    heard: list[str] = []
    number = 0
    while (event := await line.next()) is not None:
        if event["type"] == "input_audio_buffer.append":
            heard.append(event["audio"])
        elif event["type"] == "response.create":
            number += 1
            pcm = b"".join(map(base64.b64decode, heard))
            heard.clear()
            await line.respond(pcm, response_id=f"resp_{number}")

"""A transceiver process with the least of signaling before it: a call is made, and hung up."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import aiohttp
from aiohttp import web

from tests.transceiver.net import Server, running
from transceiver.caller.api import SignalingClient, calls_url
from transceiver.sdp import build_answer, parse_offer_untrusted
from transceiver.session.session import Session

ID = "rtc_7-abc"
CALL = f"/v1/realtime/calls/{ID}"


class Desk:
    """Answers offers with the server's own address, and remembers who has hung up."""

    def __init__(self, server: Server, spoil: Callable[[str], str]) -> None:
        self.server = server
        self.sessions: list[Session] = []
        self.hung_up: list[str] = []
        self._spoil = spoil

    async def handle(self, request: web.BaseRequest) -> web.Response:
        if request.method == "DELETE":
            self.hung_up.append(request.path)
            return web.Response()
        session = self.server.create(parse_offer_untrusted(await request.text()))
        self.sessions.append(session)
        local = dataclasses.replace(session.answer, candidates=(self.server.endpoint,))
        text = self._spoil(build_answer(session.offer, local))
        return web.Response(status=201, text=text, content_type="application/sdp", headers={"Location": CALL})


@asynccontextmanager
async def desk(spoil: Callable[[str], str] = str) -> AsyncIterator[tuple[Desk, SignalingClient]]:
    """The desk and a client of it; `spoil` makes of an answer what is sent."""
    async with running() as server:
        made = Desk(server, spoil)
        runner = web.ServerRunner(web.Server(made.handle))
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            async with aiohttp.ClientSession() as http:
                yield made, SignalingClient(http, calls_url(url), None)
        finally:
            await runner.cleanup()

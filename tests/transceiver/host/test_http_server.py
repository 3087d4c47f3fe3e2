"""The HTTP server of one process. Its bounds on connections are in test_supervisor, where they are real."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web

from tests.transceiver.http_kit import heard_until_closed, serving

IDLE_S = 0.2
ASKED = b"GET / HTTP/1.1\r\nHost: x\r\n"


async def answer(_: web.Request) -> web.Response:
    return web.Response(text="here")


@pytest.mark.parametrize(
    ("said", "answers"),
    [
        pytest.param(b"", 0, id="nothing"),
        pytest.param(ASKED + b"X-Slow: ", 0, id="a header that never ends"),
        pytest.param(ASKED + b"\r\n", 1, id="one request"),
        pytest.param(ASKED + b"\r\n" + ASKED, 1, id="a second header that never ends"),
    ],
)
def test_who_says_nothing_more_is_given_up(said: bytes, answers: int) -> None:
    async def scenario() -> None:
        app = web.Application()
        app.router.add_get("/", answer)
        async with serving(app, IDLE_S) as port:
            heard = await heard_until_closed(port, said)
        assert heard.count(b"HTTP/1.1 200 OK") == heard.count(b"here") == answers

    asyncio.run(scenario())

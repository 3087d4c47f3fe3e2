"""transceiver.host.region_watch against real HTTP servers, and against ports where nobody is."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from transceiver.host.region_watch import RegionWatch
from transceiver.host.status_client import StatusClient

CLIENT = StatusClient()


def run(scenario: Callable[[], Coroutine[object, object, None]]) -> None:
    """One on a loop of its own, with a client that is gone with it."""

    async def whole() -> None:
        try:
            await scenario()
        finally:
            await CLIENT.close()

    asyncio.run(whole())


class Region:
    """What its /readyz says."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.status = 200

    async def answer(self, _: web.Request) -> web.Response:
        return web.Response(status=self.status, headers={"Location": "/elsewhere"})


@asynccontextmanager
async def region() -> AsyncIterator[Region]:
    app = web.Application()
    runner = web.AppRunner(app)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        it = Region(f"http://127.0.0.1:{listener.getsockname()[1]}")
        app.router.add_get("/readyz", it.answer)
        await runner.setup()
        await web.SockSite(runner, listener).start()
        yield it
        await runner.cleanup()


def test_only_200_is_a_region_that_takes_calls(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async with region() as one, region() as other:
            watch = RegionWatch([one.url, other.url], CLIENT)
            assert watch.ready == [], "none before it has been asked"
            await watch.ask()
            assert watch.ready == [one.url, other.url], "in the order of the configuration"
            for status in (503, 404, 302, 401, 500):
                one.status = status
                await watch.ask()
                assert watch.ready == [other.url]
            one.status = 200
            await watch.ask()
            assert watch.states == {one.url: True, other.url: True}
            watch.replace([other.url, "http://127.0.0.1:1"])
            assert watch.ready == [other.url], "what is known stays known"
            await watch.ask()
            assert watch.states == {other.url: True, "http://127.0.0.1:1": False}

    with caplog.at_level(logging.INFO, "transceiver.host.region_watch"):
        run(scenario)
    said = [
        f"{each.levelname} {each.message.split(' ', 2)[2]}"
        for each in caplog.records
        if "region" in each.name
    ]
    assert said[:4] == [
        "INFO /readyz says 200",
        "INFO /readyz says 200",
        "WARNING /readyz says 503",
        "INFO /readyz says 200",
    ]
    assert said[4].startswith("WARNING /readyz: ")


def test_silence_is_no_yes() -> None:
    async def scenario() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:  # takes connections, says nothing
            watch = RegionWatch([f"http://127.0.0.1:{listener.getsockname()[1]}"], CLIENT)
            await watch.ask()
            assert watch.ready == []

    run(scenario)


def test_with_no_other_region_nothing_is_asked() -> None:
    watch = RegionWatch([], CLIENT)
    run(watch.ask)
    assert (watch.ready, watch.states) == ([], {})

"""transceiver.host.region_watch against real HTTP servers, and against ports where nobody is."""

from __future__ import annotations

import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from tests.transceiver.http_kit import CLIENT, run_with_client, serving
from transceiver.host.region_watch import RegionWatch


class Region:
    """What its /readyz says."""

    def __init__(self) -> None:
        self.url = ""
        self.status = 200

    async def answer(self, _: web.Request) -> web.Response:
        return web.Response(status=self.status, headers={"Location": "/elsewhere"})


@asynccontextmanager
async def region() -> AsyncIterator[Region]:
    it = Region()
    app = web.Application()
    app.router.add_get("/readyz", it.answer)
    async with serving(app) as port:
        it.url = f"http://127.0.0.1:{port}"
        yield it


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
        run_with_client(scenario)
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

    run_with_client(scenario)


def test_with_no_other_region_nothing_is_asked() -> None:
    watch = RegionWatch([], CLIENT)
    run_with_client(watch.ask)
    assert (watch.ready, watch.states) == ([], {})

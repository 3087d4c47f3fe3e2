"""transceiver.host.pop_watch against a real HTTP server that answers as relays do, and as they do not."""

from __future__ import annotations

import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from core.addr import Endpoint
from core.config import PopSettings
from tests.transceiver.http_kit import CLIENT, run_with_client, serving
from transceiver.host.pop_watch import PATIENCE, PAUSE_S, SHORT_PAUSE_S, SHORT_PAUSES, PopWatch
from transceiver.signaling.pops import NOT_ASKED, Standing


class Relay:
    """What its /readyz says."""

    def __init__(self) -> None:
        self.status, self.state, self.pop = 200, "ready", "a"
        self.endpoint = Endpoint("127.0.0.1", 0)

    async def answer(self, _: web.Request) -> web.Response:
        told = {"pop": self.pop, "forwarder": "xdp", "state": self.state}
        return web.json_response(told, status=self.status)


@asynccontextmanager
async def relay() -> AsyncIterator[Relay]:
    it = Relay()
    app = web.Application()
    app.router.add_get("/readyz", it.answer)
    async with serving(app) as port:
        it.endpoint = Endpoint("127.0.0.1", port)
        yield it


def pop(status: Endpoint | None) -> PopSettings:
    return PopSettings("a", (Endpoint("192.0.2.1", 3478),), status)


def test_a_pop_is_what_its_relay_says_of_itself() -> None:
    async def scenario() -> None:
        async with relay() as it:
            watch = PopWatch([pop(it.endpoint)], CLIENT)
            await watch.ask()
            assert watch.reports["a"].standing is Standing.UP
            it.status, it.state = 503, "draining"
            await watch.ask()
            assert watch.reports["a"].standing is Standing.DOWN
            assert watch.reports["a"].state == "draining"
            it.status, it.state = 200, "ready"
            await watch.ask()
            assert watch.reports["a"].standing is Standing.UP
            assert abs(watch.clocks_ahead_s["a"]) < 60

    run_with_client(scenario)


def test_silence_is_doubt_only_when_it_lasts_and_a_refused_connection_is_doubt_at_once() -> None:
    async def scenario() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:  # takes connections, says nothing
            watch = PopWatch([pop(Endpoint(*listener.getsockname()))], CLIENT)
            before = watch.reports["a"].standing
            for _ in range(PATIENCE - 1):
                await watch.ask()
                assert watch.reports["a"].standing is before
            await watch.ask()
            assert watch.reports["a"].standing is Standing.DOUBTFUL
            at = Endpoint(*listener.getsockname())
        watch = PopWatch([pop(at)], CLIENT)
        await watch.ask()  # nobody listens there now
        assert watch.reports["a"].standing is Standing.DOUBTFUL

    run_with_client(scenario)


def test_who_has_said_that_it_takes_none_stays_down_when_it_is_gone_until_it_says_otherwise() -> None:
    async def scenario() -> None:
        async with relay() as it:
            it.status, it.state = 503, "draining"
            watch = PopWatch([pop(it.endpoint)], CLIENT)
            await watch.ask()
        for _ in range(PATIENCE + 1):
            await watch.ask()
            assert watch.reports["a"].standing is Standing.DOWN

    run_with_client(scenario)


def test_the_status_of_another_pop_says_nothing_of_this_one_and_is_told_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Two PoPs with one status, or a relay with the name of another: never a wrong answer."""

    async def scenario() -> None:
        async with relay() as it:
            it.status, it.state = 503, "draining"
            other = PopSettings("b", (Endpoint("192.0.2.2", 3478),), it.endpoint)
            watch = PopWatch([pop(it.endpoint), other], CLIENT)
            for _ in range(3):
                await watch.ask()
            assert watch.reports["a"].standing is Standing.DOWN
            assert watch.reports["b"] == NOT_ASKED

    run_with_client(scenario)
    told = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert told == [
        "[[pop]] b has the status of PoP a, which says nothing about it: mend `status`, or `relay.pop` there"
    ]


def test_one_that_starts_is_in_doubt_and_no_more() -> None:
    async def scenario() -> None:
        async with relay() as it:
            it.status, it.state = 503, "starting"
            watch = PopWatch([pop(it.endpoint)], CLIENT)
            await watch.ask()
            assert watch.reports["a"].standing is Standing.DOUBTFUL

    run_with_client(scenario)


def test_a_pop_that_may_be_starting_is_asked_again_soon_and_one_that_stays_away_is_not() -> None:
    async def scenario() -> None:
        async with relay() as it:
            watch = PopWatch([pop(it.endpoint)], CLIENT)
            await watch.ask()
            assert watch.pause_s == PAUSE_S
            it.status, it.state = 503, "starting"
            for _ in range(SHORT_PAUSES):
                await watch.ask()
                assert watch.pause_s == SHORT_PAUSE_S
            await watch.ask()
            assert watch.pause_s == PAUSE_S
            it.status, it.state = 200, "ready"
            await watch.ask()
        await watch.ask()  # nobody listens there now
        assert watch.pause_s == SHORT_PAUSE_S

    run_with_client(scenario)


def test_who_has_no_status_is_never_asked() -> None:
    watch = PopWatch([pop(None)], CLIENT)
    run_with_client(watch.ask)
    assert watch.reports["a"].standing is Standing.UP


def test_a_reload_forgets_only_what_has_changed() -> None:
    async def scenario() -> None:
        async with relay() as it:
            it.status = 503
            watch = PopWatch([pop(it.endpoint)], CLIENT)
            await watch.ask()
            watch.replace([pop(it.endpoint)])
            assert watch.reports["a"].standing is Standing.DOWN
            watch.replace([pop(Endpoint("127.0.0.1", 9))])
            assert watch.reports["a"].standing is Standing.UP, "not known yet"

    run_with_client(scenario)

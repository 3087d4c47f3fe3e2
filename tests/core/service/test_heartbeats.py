"""A daemon's heartbeats against a real server, in good days and in bad ones."""

from __future__ import annotations

import asyncio
import itertools
import logging
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from core.config import StoreSettings
from core.service.heartbeats import Heartbeats, open_heartbeats, own_name
from core.store.base import StoreReason
from core.store.heartbeat import TTL_S
from core.store.keys import HostKind
from core.store.registry import Beat
from core.store_url import StoreSecrets, parse_store_url
from tests.redis_server import SERVERS, Server, running

NAME = b"fra:fra-1"
KEY = HostKind.POP.heartbeat_key(NAME).decode()


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    with running(Server(tmp_path / "redis", program=request.param)) as started:
        yield started


def opened(url: str, value: Callable[[], bytes] = lambda: b"ready") -> Heartbeats:
    heartbeats = open_heartbeats(
        StoreSettings(url=parse_store_url(url)),
        StoreSecrets(None, None),
        HostKind.POP,
        lambda now_s: Beat(NAME, value(), now_s),
    )
    assert heartbeats is not None
    return heartbeats


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - of another process
            await asyncio.sleep(0.02)


async def one_more(heartbeats: Heartbeats) -> None:
    before = heartbeats.written
    heartbeats.hasten()
    await until(lambda: heartbeats.written > before)


def test_without_a_store_there_are_none() -> None:
    assert open_heartbeats(None, None, HostKind.POP, lambda now_s: Beat(NAME, b"", now_s)) is None


def test_they_come_by_themselves_and_at_once_when_something_has_changed(server: Server) -> None:
    async def run() -> None:
        state = [b"starting"]
        heartbeats = opened(server.url, lambda: state[0])
        async with heartbeats.beating():
            await until(lambda: server.cli("GET", KEY) == "starting")
            before = time.monotonic()
            state[0] = b"ready"
            heartbeats.hasten()
            await until(lambda: server.cli("GET", KEY) == "ready")
            assert time.monotonic() - before < 1.5, "before its time"
            written = heartbeats.written
            await until(lambda: heartbeats.written > written)
            assert 1.7 < time.monotonic() - before < 3.5
        assert 0 < int(server.cli("PTTL", KEY)) <= TTL_S * 1000

    asyncio.run(run())


def test_the_periods_of_two_hosts_differ(server: Server) -> None:
    """Jitter: three periods in a row that are equal to the millisecond are no accident."""

    async def run() -> list[float]:
        at = list[float]()

        def value() -> bytes:
            at.append(time.monotonic())
            return b"ready"

        heartbeats = opened(server.url, value)
        async with heartbeats.beating():
            await until(lambda: len(at) > 3)
        return [later - before for before, later in itertools.pairwise(at)]

    periods = asyncio.run(run())
    assert max(periods) - min(periods) > 0.001
    assert all(1.75 < period < 3.5 for period in periods)


def _slow(server: Server) -> None:
    server.cli("CLIENT", "PAUSE", "60000", "ALL")


def _full(server: Server) -> None:
    server.cli("CONFIG", "SET", "maxmemory", "1")


def _read_only(server: Server) -> None:
    server.cli("REPLICAOF", "127.0.0.1", "1")


def _without_command(server: Server) -> None:
    server.restart("--rename-command", "ZADD", "")


TROUBLES: dict[str, tuple[Callable[[Server], object], StoreReason, Callable[[Server], object]]] = {
    "gone": (Server.stop, StoreReason.UNREACHABLE, Server.start),
    "slow": (_slow, StoreReason.SLOW, Server.restart),
    "full": (_full, StoreReason.FULL, lambda server: server.cli("CONFIG", "SET", "maxmemory", "0")),
    "read-only": (_read_only, StoreReason.READ_ONLY, lambda server: server.cli("REPLICAOF", "NO", "ONE")),
    "wrong password": (Server.lock, StoreReason.DENIED, Server.restart),
    "wrong version": (_without_command, StoreReason.UNSUPPORTED, Server.restart),
}


@pytest.mark.parametrize("name", TROUBLES)
def test_whatever_the_store_does_they_go_on_and_come_back_by_themselves(
    name: str, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    begin, reason, end = TROUBLES[name]

    async def run() -> None:
        heartbeats = opened(server.url)
        async with heartbeats.beating():
            await until(lambda: heartbeats.written)
            await asyncio.to_thread(begin, server)
            heartbeats.hasten()
            await until(lambda: heartbeats.trouble)
            assert heartbeats.trouble is reason
            heartbeats.hasten()
            assert heartbeats.failures[reason] >= 1
            written = heartbeats.written
            await asyncio.to_thread(end, server)
            heartbeats.hasten()
            await until(lambda: heartbeats.written > written)
            assert heartbeats.trouble is None
            assert server.cli("GET", KEY) == "ready"

    asyncio.run(run())
    said = [record.getMessage() for record in caplog.records if record.name.startswith("core.")]
    assert len(said) == 2, "and no word of another who writes under our name"
    assert f"for heartbeats: {reason}" in said[0]
    assert "well again" in said[1]


def test_a_store_that_was_wiped_knows_the_host_again_with_the_next(server: Server) -> None:
    async def run() -> None:
        heartbeats = opened(server.url)
        async with heartbeats.beating():
            await until(lambda: heartbeats.written)
            server.cli("FLUSHALL")
            await until(lambda: server.cli("GET", KEY) == "ready")
            assert server.cli("ZRANGE", "voxpop:1:pop-hosts", "0", "-1") == NAME.decode()
            assert not heartbeats.failures

    asyncio.run(run())


def test_two_hosts_of_one_name_are_told_of_once(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    """Such as machines that were made from one image, or namespaces of one machine."""

    async def run() -> None:
        one, other = opened(server.url, lambda: b"one"), opened(server.url, lambda: b"other")
        async with one.beating(), other.beating():
            for heartbeats in (one, other) * 4:
                await one_more(heartbeats)

    asyncio.run(run())
    said = [record.getMessage() for record in caplog.records]
    assert (
        said
        == ["somebody else writes the heartbeats of pop host fra:fra-1: give each host a name of its own"] * 2
    ), "once by each"


def test_a_store_that_stands_still_does_not_keep_the_daemon_from_its_end(server: Server) -> None:
    async def run() -> float:
        heartbeats = opened(server.url)
        async with heartbeats.beating():
            await until(lambda: heartbeats.written)
            _slow(server)
            heartbeats.hasten()
            await asyncio.sleep(0)
            before = time.monotonic()
        return time.monotonic() - before

    assert asyncio.run(run()) < 1


def test_what_cannot_be_said_is_told_and_ends_no_daemon(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    async def run() -> None:
        heartbeats = opened(server.url, lambda: b"%d" % (1 // 0))
        async with heartbeats.beating():
            await until(
                lambda: "no more heartbeats are written: integer division or modulo by zero" in caplog.text
            )

    asyncio.run(run())


def test_the_name_of_a_host_is_one_that_can_be_written() -> None:
    assert re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", own_name())

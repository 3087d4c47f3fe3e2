"""The store as callers have it: behind a breaker, counted, and logged once."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.store.base import Entry, StoreError, StoreReason
from core.store.breaker import MS, Breaker, BreakerPolicy
from core.store.guarded import GuardedStore
from core.store.memory import MemoryStore
from core.store.redis import RedisAccess, RedisStore
from core.store_url import parse_store_url
from tests.core.store.kit import keeps_the_contract
from tests.redis_server import Server, running

POLICY = BreakerPolicy(failures=3, first_pause_ns=50 * MS, last_pause_ns=200 * MS)
ENTRY = Entry(b"voxpop:1:test", b"value", 60_000)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with running(Server(tmp_path / "redis")) as started:
        yield started


class Clock:
    """The breaker's, which stands until a test moves it: on a busy machine too no pause ends by itself."""

    def __init__(self) -> None:
        self.now_ns = 0

    def __call__(self) -> int:
        return self.now_ns


def guard(server: Server) -> tuple[GuardedStore, Clock]:
    clock = Clock()
    store = RedisStore(parse_store_url(server.url), RedisAccess(0.1))
    return GuardedStore(store, Breaker(POLICY, lambda: 0.0), clock, "the test's"), clock


async def fails(store: GuardedStore) -> StoreReason:
    with pytest.raises(StoreError) as refused:
        await store.set_many([ENTRY])
    return refused.value.reason


async def until_well(store: GuardedStore, clock: Clock) -> None:
    async with asyncio.timeout(10):
        while store.trouble is not None:
            clock.now_ns += POLICY.last_pause_ns
            with contextlib.suppress(StoreError):
                await store.set_many([ENTRY])


def test_it_does_what_a_store_does() -> None:
    store = MemoryStore(1000, time.monotonic_ns)
    asyncio.run(keeps_the_contract(GuardedStore(store, Breaker(POLICY, lambda: 0.0), time.monotonic_ns, "")))


def test_a_dead_store_costs_nothing_after_three_failures_and_is_taken_up_again(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    changes = []

    async def run() -> None:
        store, clock = guard(server)
        store.on_change = lambda: changes.append(store.trouble)
        await store.set_many([ENTRY])
        server.stop()
        assert [await fails(store) for _ in range(3)] == [StoreReason.UNREACHABLE] * 3
        assert not store.is_available
        assert await fails(store) is StoreReason.BREAKER_OPEN
        assert store.trouble is StoreReason.UNREACHABLE
        server.start()
        await until_well(store, clock)
        assert store.is_available
        await store.close()
        assert store.failures[StoreReason.UNREACHABLE] >= 3
        assert store.failures[StoreReason.BREAKER_OPEN] >= 1

    asyncio.run(run())
    assert changes == [StoreReason.UNREACHABLE, None]
    said = [record.getMessage() for record in caplog.records if record.name == "core.store.guarded"]
    assert len(said) == 2
    assert "degraded, calls go on: the test's: unreachable" in said[0]
    assert "well again" in said[1]


def test_a_slow_store_keeps_a_caller_for_three_deadlines_in_all(server: Server) -> None:
    async def run() -> None:
        store, clock = guard(server)
        server.cli("CLIENT", "PAUSE", "1500", "ALL")
        before = time.monotonic()
        reasons = [await fails(store) for _ in range(100)]
        assert time.monotonic() - before < 3, "a hundred deadlines would be ten seconds"
        assert reasons[:3] == [StoreReason.SLOW] * 3
        assert reasons.count(StoreReason.BREAKER_OPEN) > 90
        await until_well(store, clock)
        await store.close()

    asyncio.run(run())


def test_a_store_that_takes_no_writes_is_read_and_called_degraded(server: Server) -> None:
    async def run() -> None:
        store, _ = guard(server)
        await store.set_many([ENTRY])
        server.cli("CONFIG", "SET", "maxmemory", "1")
        for _ in range(5):
            assert await fails(store) is StoreReason.FULL
            assert await store.get_many([ENTRY.key]) == [b"value"]
            assert store.trouble is StoreReason.FULL  # that reading works does not make it well
        server.cli("CONFIG", "SET", "maxmemory", "0")
        await store.set_many([ENTRY])
        assert store.trouble is None
        await store.close()

    asyncio.run(run())


def test_a_try_that_is_cancelled_does_not_keep_the_breaker_open_for_ever(server: Server) -> None:
    async def run() -> None:
        store, clock = guard(server)
        server.stop()
        for _ in range(3):
            await fails(store)
        server.start()
        clock.now_ns += POLICY.first_pause_ns
        assert store.is_available
        attempt = asyncio.create_task(store.set_many([ENTRY]))
        await asyncio.sleep(0)
        attempt.cancel()
        await asyncio.wait({attempt})
        assert store.is_available
        await store.set_many([ENTRY])
        await store.close()

    asyncio.run(run())

"""What is known of PoPs, heard in a real store and asked at a real server, whatever happens to either."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from core.addr import Endpoint, parse_endpoint
from core.config import PopSettings, StoreSettings
from core.keyring import Keyring
from core.store.base import StoreError, StoreReason
from core.store.heartbeat import HeartbeatReason, HostState, PopHeartbeat, encode
from core.store.keys import HostKind
from core.store.open import open_guarded
from core.store.registry import Beat, Registry
from core.store_url import parse_store_url
from tests.redis_server import SERVERS, Server, running
from tests.transceiver.host.test_pop_watch import Relay
from tests.transceiver.host.test_pop_watch import relay as any_relay
from transceiver.host.pop_reports import PopReports, merge
from transceiver.host.status_client import StatusClient
from transceiver.signaling.pops import NOT_ASKED, PopReport, Standing
from transceiver.steering.pop_hosts import PopHealth, Verdict

KEYRING = Keyring({1: bytes(range(32))}, 1)
VIP = parse_endpoint("192.0.2.1:3478")


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    with running(Server(tmp_path / "redis", program=request.param)) as started:
        yield started


def settings(server: Server) -> StoreSettings:
    return StoreSettings(url=parse_store_url(server.url))


def pop(status: Endpoint | None = None) -> PopSettings:
    return PopSettings("fra", (VIP,), status)


@asynccontextmanager
async def listening(server: Server, status: Endpoint | None = None) -> AsyncIterator[PopReports]:
    client = StatusClient()
    reports = PopReports([pop(status)], KEYRING, open_guarded(settings(server)), client)
    try:
        yield reports
    finally:
        await reports.close()
        await client.close()


@asynccontextmanager
async def relay() -> AsyncIterator[Relay]:
    async with any_relay() as it:
        it.pop = "fra"
        yield it


class Host:
    """A PoP host that says what it is told to."""

    def __init__(self, server: Server, name: bytes = b"fra:a") -> None:
        self._registry = Registry(open_guarded(settings(server)))
        self._name = name
        self._at_ms = 0

    async def say(
        self, state: HostState = HostState.READY, taken: int = 0, keyring: Keyring = KEYRING
    ) -> None:
        self._at_ms = max(self._at_ms + 1, int(time.time() * 1000))
        said = PopHeartbeat(self._at_ms, state, taken, 1000, "1", "xdp", None, (VIP,))
        value = encode(said, HostKind.POP.heartbeat_key(self._name), keyring)
        await self._registry.write(HostKind.POP, Beat(self._name, value, time.time()))

    async def close(self) -> None:
        await self._registry.store.close()


@asynccontextmanager
async def host(server: Server, name: bytes = b"fra:a") -> AsyncIterator[Host]:
    it = Host(server, name)
    try:
        yield it
    finally:
        await it.close()


def test_a_pop_without_a_status_is_what_its_hosts_say(server: Server) -> None:
    async def run() -> None:
        async with listening(server) as reports, host(server) as a, host(server, b"fra:b") as b:
            await reports.ask()
            assert reports.reports == {"fra": NOT_ASKED}
            await a.say(taken=850)
            await b.say(taken=100)
            await reports.ask()
            assert reports.reports == {"fra": PopReport("xdp", "ready", Standing.UP, 0.85)}
            assert reports.encoded == {"fra": ["xdp", "ready", Standing.UP, 0.85]}
            assert reports.hosts == {"fra": 2}
            assert reports.clocks_ahead_s == {"fra": 0.0}
            await a.say(HostState.DRAINING)
            await reports.ask()
            assert reports.reports == {"fra": PopReport("xdp", "ready", Standing.UP, 0.1)}
            await b.say(HostState.DRAINING)
            await reports.ask()
            assert reports.reports["fra"].standing is Standing.DOWN
            assert reports.reports["fra"].state == "draining"

    asyncio.run(run())


def test_what_hosts_say_counts_more_than_what_one_of_them_answers(server: Server) -> None:
    async def run() -> None:
        async with relay() as it, listening(server, it.endpoint) as reports, host(server) as a:
            it.status, it.state = 503, "draining"
            await reports.ask()
            assert reports.reports["fra"].standing is Standing.DOWN
            await a.say()
            await reports.ask()
            assert reports.reports["fra"].standing is Standing.UP, "another host of it takes calls"

    asyncio.run(run())


TROUBLES: dict[str, tuple[Callable[[Server], object], StoreReason | None]] = {
    "gone": (Server.stop, StoreReason.UNREACHABLE),
    "slow": (lambda server: server.cli("CLIENT", "PAUSE", "60000", "ALL"), StoreReason.SLOW),
    "full": (lambda server: server.cli("CONFIG", "SET", "maxmemory", "1"), None),
    "read-only": (lambda server: server.cli("REPLICAOF", "127.0.0.1", "1"), None),
    "wiped": (lambda server: server.cli("FLUSHALL"), None),
    "wrong password": (Server.lock, StoreReason.DENIED),
    "wrong version": (
        lambda server: server.restart("--rename-command", "ZREVRANGE", ""),
        StoreReason.UNSUPPORTED,
    ),
}


@pytest.mark.parametrize("name", TROUBLES)
def test_whatever_the_store_does_pops_are_led_to_by_their_status_and_heard_again_afterwards(
    name: str, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    """One PoP takes calls all the while; its host is as full as its status says."""
    caplog.set_level(logging.INFO)
    begin, reason = TROUBLES[name]

    async def run(it: Relay) -> None:
        async with listening(server, it.endpoint) as reports, host(server) as a:
            await a.say(taken=850)
            await reports.ask()
            assert reports.reports["fra"] == PopReport("xdp", "ready", Standing.UP, 0.85)
            await asyncio.to_thread(begin, server)
            before = time.monotonic()
            for _ in range(4):
                await reports.ask()
            assert time.monotonic() - before < 3, "a round is a second at most, and these are not slow"
            assert reports.reports["fra"].standing is Standing.UP
            if reason is not None:
                assert reports.failures[reason] >= 1
                assert reports.hosts == {"fra": 0}
                assert reports.reports["fra"].load is None, "by its status, which says nothing of it"
            await asyncio.to_thread(server.restart)
            async with asyncio.timeout(20):
                while reports.reports["fra"].load != 0.86:
                    with contextlib.suppress(StoreError):
                        await a.say(taken=860)
                    await reports.ask()
            assert reports.hosts == {"fra": 1}

    async def with_relay() -> None:
        async with relay() as it:
            await run(it)

    asyncio.run(with_relay())
    said = [record.getMessage() for record in caplog.records if "degraded" in record.getMessage()]
    assert len(said) <= 2, "once by who reads, once by who writes"
    assert not [record for record in caplog.records if "PoP fra is" in record.getMessage()]


def test_who_has_no_key_leads_nobody_and_keeps_nobody_away(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    async def run() -> None:
        stranger = Keyring({1: b"x" * 32}, 1)
        async with listening(server) as reports, host(server) as a, host(server, b"fra:evil") as evil:
            await a.say()
            await evil.say(HostState.DRAINING, keyring=stranger)
            for _ in range(3):
                await reports.ask()
            assert reports.reports["fra"] == PopReport("xdp", "ready", Standing.UP, 0.0)
            await a.say(HostState.DRAINING, keyring=stranger)
            await reports.ask()
            assert reports.reports["fra"].standing is Standing.UP
            assert reports.ignored[HeartbeatReason.BAD_MAC] == 5

    asyncio.run(run())
    said = [record.getMessage() for record in caplog.records]
    assert said == [
        f"the heartbeat of PoP host {name} is ignored (bad_mac: it is not signed with a master key of this "
        "host's)"
        for name in ("fra:evil", "fra:a")
    ]


def test_what_changes_is_told_once(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    async def run() -> None:
        async with listening(server) as reports, host(server) as a:
            for state in (HostState.READY, HostState.DRAINING, HostState.DRAINING, HostState.READY):
                await a.say(state)
                await reports.ask()

    asyncio.run(run())
    assert [record.getMessage() for record in caplog.records] == [
        "PoP fra is down (draining, forwarder xdp)",
        "PoP fra is up (ready, forwarder xdp)",
    ]


def test_without_a_store_pops_are_asked_and_nothing_else() -> None:
    async def run() -> None:
        client = StatusClient()
        reports = PopReports([pop()], KEYRING, None, client)
        await reports.ask()
        assert reports.encoded == {}
        assert reports.reports == {"fra": NOT_ASKED}
        assert reports.failures == {}
        async with relay() as it:
            reports.replace([pop(it.endpoint)], KEYRING)
            await reports.ask()
            assert reports.encoded["fra"][1] == "ready"
            await client.close()
        await reports.close()

    asyncio.run(run())


UP, DOWN = PopReport("xdp", "ready", Standing.UP, 0.5), PopReport("xdp", "draining", Standing.DOWN)
DOUBTFUL = PopReport(state="silent", standing=Standing.DOUBTFUL)
LIVE = PopHealth(Verdict.TAKING, "ready", "xdp", 0.1, 2)
LATE = PopHealth(Verdict.TAKING, "ready", "xdp", 0.1, 2, is_late=True)
SILENT = PopHealth(Verdict.SILENT, "silent", "unknown", None, 0)
LEFT = PopHealth(Verdict.REFUSING, "draining", "xdp", None, 0)
MERGED = {
    "nothing is known": (None, None, Standing.UP),
    "another PoP has answered": (NOT_ASKED, SILENT, Standing.DOUBTFUL),
    "asked alone": (DOWN, None, Standing.DOWN),
    "heard alone": (None, LIVE, Standing.UP),
    "heard alone, and silent": (None, SILENT, Standing.DOUBTFUL),
    "heard alone, and gone after a word": (None, LEFT, Standing.DOWN),
    "one host drains, another does not": (DOWN, LIVE, Standing.UP),
    "the status cannot be reached": (DOUBTFUL, LIVE, Standing.UP),
    "the status cannot be reached, and the hosts are late": (DOUBTFUL, LATE, Standing.DOUBTFUL),
    "the hosts are late, and the status answers": (UP, LATE, Standing.UP),
    "the hosts have lost the store": (UP, SILENT, Standing.UP),
    "all are gone": (DOUBTFUL, SILENT, Standing.DOUBTFUL),
    "all are gone after a word": (DOUBTFUL, LEFT, Standing.DOWN),
    "it is back, and the store does not know yet": (UP, LEFT, Standing.UP),
}


@pytest.mark.parametrize(("asked", "heard", "standing"), MERGED.values(), ids=MERGED)
def test_two_sources_come_to_one(
    asked: PopReport | None, heard: PopHealth | None, standing: Standing
) -> None:
    assert merge(asked, heard).standing is standing

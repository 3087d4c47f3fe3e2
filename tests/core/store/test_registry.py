"""The registry of hosts, in memory and in a real server."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from core.config import StoreSettings
from core.store.base import NOT_A_STRING, READ_BYTES, Place
from core.store.guarded import GuardedStore
from core.store.keys import HostKind
from core.store.open import open_guarded
from core.store.registry import MAX_HOSTS, Beat, Registry
from core.store_url import parse_store_url
from tests.redis_server import SERVERS, Server, running

TOKYO = Place(b"nrt", 139.69, 35.68)
FRANKFURT = Place(b"fra", 8.68, 50.11)


async def knows_all_hosts(store: GuardedStore) -> None:
    registry = Registry(store)
    assert await registry.read(HostKind.POP) == []
    await registry.write(HostKind.POP, Beat(b"fra:a", b"1", 100.0, FRANKFURT))
    await registry.write(HostKind.POP, Beat(b"fra:b", b"2", 101.0, FRANKFURT))
    await registry.write(HostKind.POP, Beat(b"nrt:a", b"3", 99.0, TOKYO))
    await registry.write(HostKind.TRANSCEIVER, Beat(b"1:0:40000", b"4", 102.0))
    everyone = [(b"fra:b", b"2"), (b"fra:a", b"1"), (b"nrt:a", b"3")]
    assert await registry.read(HostKind.POP) == everyone
    assert await registry.read(HostKind.POP, [b"nrt:a", b"gone"]) == [everyone[2], *everyone[:2]]
    assert await registry.read(HostKind.TRANSCEIVER) == [(b"1:0:40000", b"4")]
    assert [place.member for place in await registry.nearest(35.0, 135.0)] == [b"nrt", b"fra"]
    await registry.write(HostKind.POP, Beat(b"pole:a", b"5", 50.0, Place(b"pole", 0.0, -90.0)))
    assert (await registry.nearest(-80.0, 0.0))[0].member == b"pole"


def test_it_knows_all_hosts_in_memory() -> None:
    asyncio.run(knows_all_hosts(open_guarded(None)))


def in_server(server: Server) -> GuardedStore:
    return open_guarded(StoreSettings(url=parse_store_url(server.url), timeout_ms=1000))


def test_it_knows_all_hosts_in_a_real_server_and_forgets_who_is_silent(tmp_path: Path) -> None:
    async def run(server: Server) -> None:
        store = in_server(server)
        try:
            await knows_all_hosts(store)
            left_ms = int(server.cli("PTTL", "voxpop:1:pop:fra:a"))
            assert 4000 < left_ms <= 6000, "three heartbeats"
            server.cli("DEL", "voxpop:1:pop:fra:a")  # as its expiry will do
            assert [name for name, _ in await Registry(store).read(HostKind.POP)] == [
                b"fra:b",
                b"nrt:a",
                b"pole:a",
            ]
        finally:
            await store.close()

    for program in SERVERS:
        with running(Server(tmp_path / program, program=program)) as server:
            asyncio.run(run(server))


def test_poison_on_the_list_costs_little_and_hides_nobody_who_is_known(tmp_path: Path) -> None:
    async def run(server: Server) -> None:
        store = in_server(server)
        registry = Registry(store)
        try:
            await registry.write(HostKind.POP, Beat(b"fra:a", b"1", time.time(), None))
            server.cli("SET", "voxpop:1:pop:fra:big", "x" * 100_000)
            server.cli("RPUSH", "voxpop:1:pop:fra:list", "x")
            server.cli("ZADD", "voxpop:1:pop-hosts", "9e15", "fra:big", "9e15", "fra:list")
            found = dict(await registry.read(HostKind.POP))
            assert found == {b"fra:a": b"1", b"fra:big": b"x" * READ_BYTES, b"fra:list": NOT_A_STRING}
            junk = [word for i in range(MAX_HOSTS) for word in ("9e15", f"junk:{i}")]
            server.cli("ZADD", "voxpop:1:pop-hosts", *junk)
            server.cli("ZADD", "voxpop:1:pop-hosts", "9e15", "z" * 100_000)
            await registry.write(HostKind.POP, Beat(b"fra:a", b"1", time.time(), None))
            assert server.cli("ZCARD", "voxpop:1:pop-hosts") == str(MAX_HOSTS)
            assert (b"fra:a", b"1") not in await registry.read(HostKind.POP), "pushed from the list"
            known = await registry.read(HostKind.POP, [b"fra:a"])
            assert known[0] == (b"fra:a", b"1")
            assert (b"z" * 100_000, b"") in known, "to be counted, not asked for"
        finally:
            await store.close()

    with running(Server(tmp_path / "redis")) as server:
        asyncio.run(run(server))

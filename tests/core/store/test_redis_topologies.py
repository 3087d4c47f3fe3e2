"""Sentinel, Cluster and TLS: real ones, made for the test."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from core.store.base import Entry, StoreError, StoreReason
from tests.certificates import self_signed
from tests.core.store.kit import keeps_the_contract
from tests.core.store.test_redis import ENTRY, opened
from tests.ports import free_tcp_port
from tests.redis_server import Server, running

PATIENCE_S = 20.0
SLOTS = 16384


async def until_written(url: str) -> None:
    """Write again and again until it works."""
    async with asyncio.timeout(PATIENCE_S), opened(url) as store:
        while True:
            try:
                await store.set_many([ENTRY])
            except StoreError:
                await asyncio.sleep(0.02)
            else:
                return


@pytest.mark.slow
def test_the_primary_is_found_by_sentinels_and_found_again_after_a_failover(tmp_path: Path) -> None:
    with ExitStack() as stack:
        primary = stack.enter_context(running(Server(tmp_path / "primary")))
        follow = ("--replicaof", "127.0.0.1", str(primary.port))
        replica = stack.enter_context(running(Server(tmp_path / "replica", follow)))
        watch = (
            "--sentinel", "monitor", "voxpop", "127.0.0.1", str(primary.port), "1",
            "--sentinel", "down-after-milliseconds", "voxpop", "300",
            "--sentinel", "failover-timeout", "voxpop", "2000",
        )  # fmt: skip
        sentinel = stack.enter_context(running(Server(tmp_path / "sentinel", watch, mode=("--sentinel",))))
        url = f"redis+sentinel://127.0.0.1:1,127.0.0.1:{sentinel.port}/voxpop/2"

        async def works() -> None:
            async with opened(url, timeout_s=1) as store:
                await keeps_the_contract(store)

        asyncio.run(works())
        assert primary.cli("-n", "2", "DBSIZE") != "0"
        _until(lambda: "slaves=1" in sentinel.cli("INFO", "sentinel"))
        primary.stop()
        asyncio.run(until_written(url))
        assert replica.cli("-n", "2", "GET", ENTRY.key.decode()) == "value"


def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[list[Server]]:
    """Three primaries, a third of the slots each."""
    with ExitStack() as stack:
        nodes = [
            stack.enter_context(
                running(
                    Server(
                        tmp_path / f"node{index}",
                        ("--cluster-enabled", "yes", "--cluster-port", str(free_tcp_port()),
                         "--cluster-node-timeout", "500"),
                    )
                )
            )
            for index in range(3)
        ]  # fmt: skip
        for index, node in enumerate(nodes):
            first, last = SLOTS * index // 3, SLOTS * (index + 1) // 3 - 1
            node.cli("CLUSTER", "ADDSLOTSRANGE", str(first), str(last))
            node.cli("CLUSTER", "SET-CONFIG-EPOCH", str(index + 1))
        for node in nodes[1:]:
            bus = node.options[list(node.options).index("--cluster-port") + 1]
            nodes[0].cli("CLUSTER", "MEET", "127.0.0.1", str(node.port), bus)
        for node in nodes:
            _until(partial(_is_whole, node))
        yield nodes


def _is_whole(node: Server) -> bool:
    return "cluster_state:ok" in node.cli("CLUSTER", "INFO")


@pytest.mark.slow
def test_a_cluster_has_flows_on_all_of_its_nodes_and_loses_those_of_a_dead_one(
    cluster: list[Server],
) -> None:
    url = f"redis+cluster://127.0.0.1:1,127.0.0.1:{cluster[0].port},127.0.0.1:{cluster[1].port}"
    entries = [Entry(b"voxpop:1:flow:%d" % index, b"%d" % index, 60_000) for index in range(300)]

    async def works() -> None:
        async with opened(url, timeout_s=1) as store:
            await keeps_the_contract(store)
            await store.set_many(entries)
            assert await store.get_many([e.key for e in entries]) == [e.value for e in entries]

    asyncio.run(works())
    for node in cluster:
        assert int(node.cli("DBSIZE")) > 50

    async def fails() -> None:
        async with opened(url, timeout_s=0.3) as store:
            await store.get_many([entries[0].key])
            cluster[2].stop()
            before = time.monotonic()
            with pytest.raises(StoreError) as refused:
                await store.set_many(entries)
            assert time.monotonic() - before < 2
            assert refused.value.reason in (
                StoreReason.UNREACHABLE, StoreReason.NOT_READY, StoreReason.SLOW, StoreReason.OTHER,
            )  # fmt: skip

    asyncio.run(fails())


def test_tls_is_used_and_the_certificate_is_looked_at(tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path)
    port = free_tcp_port()
    tls = (
        "--tls-port", str(port), "--tls-cert-file", str(certificate), "--tls-key-file", str(key),
        "--tls-ca-cert-file", str(certificate), "--tls-auth-clients", "no",
    )  # fmt: skip
    server = Server(tmp_path / "redis", ("--port", "0", *tls))

    async def run() -> None:
        async with opened(f"rediss://127.0.0.1:{port}", 2, ca_pem=certificate.read_text()) as store:
            await keeps_the_contract(store)
        async with opened(f"rediss://127.0.0.1:{port}", 2) as store:  # signed by nobody that is known
            with pytest.raises(StoreError) as refused:
                await store.set_many([ENTRY])
            assert refused.value.reason is StoreReason.UNREACHABLE
        async with opened(f"rediss://localhost:{port}", 2, ca_pem=certificate.read_text()) as store:
            with pytest.raises(StoreError) as refused:
                await store.set_many([ENTRY])  # a certificate for another name
            assert refused.value.reason is StoreReason.UNREACHABLE

    with running(server):
        asyncio.run(run())

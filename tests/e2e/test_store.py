"""A call goes on at another host of its PoP: with a store at once, without one at its next check."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import aiohttp
import pytest

from ebpf.net import netns
from tests.e2e.kit import Callers, is_answered, metric, until
from tests.e2e.two_hosts import RELAY_STATUS, URL, TwoHosts, two_hosts
from tests.redis_server import Server, running
from transceiver.caller.call import Call

pytestmark = [
    pytest.mark.slow,
    pytest.mark.netns,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes network namespaces"),
]
DETECTION_S = 0.9
"""BFD at three times 300 ms: until then the router believes that the host is there."""
MS = 1e6


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Server]:
    """Reached by its Unix socket, which namespaces of networks do not part."""
    with running(Server(tmp_path / "redis")) as server:
        yield server


def of_relay(hosts: TwoHosts, name: str, series: str, **labels: str) -> float:
    """A metric of a host's relay."""
    with netns.inside(hosts.hosts[name].namespace):
        return asyncio.run(metric(RELAY_STATUS, f"voxpop_relay_{series}", **labels))


async def ask(hosts: TwoHosts, name: str, series: str, **labels: str) -> float:
    """The same from within an event loop."""
    return await asyncio.to_thread(of_relay, hosts, name, series, **labels)


async def a_check_is_answered(call: Call) -> None:
    """Wait until one was just now, so that the next is two seconds away or more."""
    assert call.transport is not None
    candidate = call.transport.ice._selected
    assert candidate is not None
    before = candidate.next_ns
    await until(
        lambda: before < candidate.next_ns > time.monotonic_ns() + 1_900_000_000, "a check is answered"
    )


async def with_a_call(hosts: TwoHosts, then: Callable[[Call], object]) -> None:
    async with aiohttp.ClientSession() as http:
        crowd = Callers(URL, http)
        try:
            call = crowd.call()
            await call.connect()
            await is_answered(call)
            await then(call)  # type: ignore[misc]
            await call.run_for(1)  # what was cut in two is over
            await is_answered(call)
        finally:
            await crowd.hang_up()
            crowd.close()


@pytest.mark.parametrize("forwarder", ["userspace", "xdp"])
def test_a_route_that_shifts_to_another_host_is_not_heard(
    tmp_path: Path, redis: Server, forwarder: str, say: Callable[[str], None]
) -> None:
    """Anycast: both hosts live, and the network sends the client's packets elsewhere from one to the next."""
    with two_hosts(tmp_path, forwarder, f"unix://{redis.path}") as hosts:

        async def shift(call: Call) -> None:
            assert call.transport is not None
            await until(lambda: "flow" in redis.cli("--scan"), "the flow's record is there")
            await a_check_is_answered(call)
            call.transport.gaps.forget()
            hosts.lead_to("b")
            await asyncio.sleep(1)  # half the time to the next check
            assert await ask(hosts, "b", "recalls_total", outcome="restored") == 1
            recall_s = await ask(hosts, "b", "recall_seconds_sum")
            assert await ask(hosts, "b", "first_packet_seconds_count") == 0, "no check has come to that host"
            say(
                f"{forwarder}: route shifted: flow restored in {recall_s * 1e3:.1f} ms, "
                f"longest gap {call.transport.gaps.longest_ns / MS:.0f} ms"
            )
            assert call.transport.restarts == call.transport.moves == 0

        asyncio.run(with_a_call(hosts, shift))
        assert of_relay(hosts, "b", "recalls_total", outcome="restored") == 1


async def _gap_after_the_death_of_a_host(hosts: TwoHosts, call: Call) -> tuple[float, float]:
    """(ms from the host's death to audio again, ms of that from the route's having moved)."""
    assert call.transport is not None
    await a_check_is_answered(call)
    dead_ns = hosts.cut("a")
    await asyncio.sleep(DETECTION_S)
    moved_ns = hosts.lead_to("b")
    await call.transport.next_audio()
    now_ns = time.monotonic_ns()
    return (now_ns - dead_ns) / MS, (now_ns - moved_ns) / MS


@pytest.mark.parametrize("forwarder", ["userspace", "xdp"])
def test_a_host_that_dies_is_followed_by_the_other_at_once(
    tmp_path: Path, redis: Server, forwarder: str, say: Callable[[str], None]
) -> None:
    with two_hosts(tmp_path, forwarder, f"unix://{redis.path}") as hosts:

        async def die(call: Call) -> None:
            assert call.transport is not None
            await until(lambda: "flow" in redis.cli("--scan"), "the flow's record is there")
            whole_ms, after_ms = await _gap_after_the_death_of_a_host(hosts, call)
            say(f"{forwarder}: host dead: audio after {whole_ms:.0f} ms, {after_ms:.0f} after the route")
            assert await ask(hosts, "b", "recalls_total", outcome="restored") == 1
            assert await ask(hosts, "b", "first_packet_seconds_count") == 0, "it was before any check"
            assert call.transport.restarts == call.transport.moves == 0

        asyncio.run(with_a_call(hosts, die))


def test_without_a_store_the_next_check_brings_the_call_back(
    tmp_path: Path, say: Callable[[str], None]
) -> None:
    with two_hosts(tmp_path, "userspace", None) as hosts:

        async def die(call: Call) -> None:
            whole_ms, after_ms = await _gap_after_the_death_of_a_host(hosts, call)
            say(
                f"no store: host dead: audio again after {whole_ms:.0f} ms, {after_ms:.0f} ms after the route"
            )
            assert await ask(hosts, "b", "first_packet_seconds_count") == 1
            assert await ask(hosts, "b", "refusals_total", reason="unknown_flow_media") > 10

        asyncio.run(with_a_call(hosts, die))

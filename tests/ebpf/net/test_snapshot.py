"""What netlink tells: what there is, and of changes how soon, in a network namespace of the test's own."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Iterator
from ipaddress import ip_address
from statistics import median

import pytest

from ebpf.net import netns
from ebpf.net.routes import RouteLeg
from ebpf.net.snapshot import STORM_PAUSE_S, Netlink, Network

pytestmark = pytest.mark.netns

PATIENCE_S = 5


@pytest.fixture
def namespace() -> Iterator[str]:
    if os.geteuid() != 0:
        pytest.skip("needs root: makes a network namespace")
    name = f"voxpop-test-{os.getpid()}"
    netns.create(name)
    for words in ("link add near type veth peer name far", "link set near up", "link set far up"):
        subprocess.run(["ip", "-n", name, *words.split()], check=True)
    yield name
    netns.remove(name)


def ip(words: str) -> None:
    subprocess.run(["ip", *words.split()], check=True)


def look() -> Network:
    async def run() -> Network:
        async with Netlink() as netlink:
            return await netlink.network()

    return asyncio.run(run())


def test_links_routes_and_neighbours(namespace: str) -> None:
    with netns.inside(namespace):
        for words in (
            "addr add 192.0.2.1/24 dev near",
            "addr add 2001:db8::1/64 dev near nodad",
            "route add 10.0.0.0/8 via 192.0.2.2 metric 20",
            "route add 10.1.0.0/16 nexthop via 192.0.2.2 dev near nexthop via 192.0.2.3 dev near",
            "route add blackhole 10.2.0.0/16",
            "-6 route add 2001:db8:1::/48 via 2001:db8::2",
            "neigh replace 192.0.2.2 lladdr 02:00:00:00:00:09 dev near nud permanent",
            "neigh replace 192.0.2.3 dev near nud failed",
        ):
            ip(words)
        found = look()
    near, lo = found.link_named("near"), found.link_named("lo")
    assert near is not None
    assert lo is not None
    assert (near.is_up, near.is_ethernet, near.kind, near.vlan) == (True, True, "veth", None)
    assert (lo.is_ethernet, lo.kind) == (False, "")
    routes = {str(route.prefix): route for route in found.routes}
    via = RouteLeg(near.number, "192.0.2.2", True)
    assert routes["10.0.0.0/8"][1:3] == (20, (via,))
    assert routes["10.1.0.0/16"].legs == (via, via._replace(gateway="192.0.2.3"))
    assert routes["10.2.0.0/16"].legs == ()
    assert routes["192.0.2.0/24"].legs == (RouteLeg(near.number, None, True),)
    assert routes["2001:db8::/64"].legs == (RouteLeg(near.number, None, True),)
    assert routes["2001:db8:1::/48"].legs == (RouteLeg(near.number, "2001:db8::2", True),)
    to = ip_address("203.0.113.1")
    assert not any(to in route.prefix for route in found.routes if route.prefix.version == to.version)
    assert found.neighbours[near.number, "192.0.2.2"].mac == bytes.fromhex("020000000009")
    failed = found.neighbours[near.number, "192.0.2.3"]
    assert (failed.mac, failed.is_failed) == (None, True)
    assert (near.number, "192.0.2.4") not in found.neighbours


def change(number: int) -> None:
    ip(f"neigh replace 192.0.2.{number} lladdr 02:00:00:00:00:01 dev near nud permanent")


def test_of_two_changes_in_a_row_the_second_is_told_as_soon(namespace: str) -> None:
    """A client's address, then the answer of the host that it is led to: packets wait for that."""

    async def run() -> list[float]:
        loop, waited = asyncio.get_running_loop(), []
        async with Netlink() as netlink:
            changes = netlink.changes()

            async def told() -> None:
                await asyncio.wait_for(anext(changes), PATIENCE_S)

            await told()
            for number in range(5):
                await asyncio.sleep(2 * STORM_PAUSE_S)  # no storm of these
                change(2 * number + 1)
                await told()
                change(2 * number + 2)
                began = loop.time()
                await told()
                waited.append(loop.time() - began)
        return waited

    with netns.inside(namespace):
        assert median(asyncio.run(run())) < STORM_PAUSE_S / 2


def test_of_a_change_it_is_told_whether_it_is_more_than_a_neighbour(namespace: str) -> None:
    """Flows may have no way until a route is followed; of neighbours there may be very many."""

    async def run() -> list[bool]:
        async with Netlink() as netlink:
            changes = netlink.changes()

            async def told() -> bool:
                async with asyncio.timeout(PATIENCE_S):
                    return await anext(changes)

            found = [await told()]
            for command in (
                "neigh replace 192.0.2.9 lladdr 02:00:00:00:00:01 dev near nud permanent",
                "route add 10.0.0.0/8 via 192.0.2.2",
                "neigh replace 192.0.2.9 lladdr 02:00:00:00:00:02 dev near nud permanent",
                "rule add pref 77 from 192.0.2.1 lookup 100",
                "-6 rule add pref 77 from 2001:db8::1 lookup 100",
                "nexthop add id 7 via 192.0.2.2 dev near",
                "link set far down",
            ):
                await asyncio.sleep(2 * STORM_PAUSE_S)
                ip(command)
                found.append(await told())
        return found

    with netns.inside(namespace):
        ip("addr add 192.0.2.1/24 dev near")
        assert asyncio.run(run()) == [True, False, True, False, True, True, True, True]

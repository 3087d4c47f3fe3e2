"""The network of a planet, made and removed without anything that runs in it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ebpf.errors import DataplaneError
from ebpf.net import netns
from ebpf.net.attach import Netdev
from edge.lab.planet import addresses, network, spec
from edge.lab.planet.layout import Layout
from tests.edge.lab.planet.kit import SMALL, assert_nothing_left
from tests.reach import reaches

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes network namespaces"),
]


@pytest.fixture
def layout() -> Iterator[Layout]:
    made = Layout(f"n{os.getpid()}", spec.parse(SMALL.replace("hosts = 2", "hosts = 2\nuplinks = 2")))
    yield made
    remove(made)
    assert_nothing_left(made.name)


def remove(layout: Layout) -> None:
    for name in network.namespaces(layout):
        netns.remove(name)


def interfaces(namespace: str) -> dict[str, bool]:
    """Whether each is up, by name."""
    with netns.inside(namespace), Netdev() as netdev:
        return {link.name: link.is_up for link in netdev.links() if link.name != "lo"}


def test_hosts_reach_their_router_and_nobody_reaches_over_the_wan_without_routes(layout: Layout) -> None:
    network.build(layout)
    frankfurt, region = layout.pops[0], layout.regions[0]
    for host in frankfurt.hosts:
        for uplink in range(2):
            for address in addresses.pop_router(frankfurt.number, uplink).both:
                assert reaches(host.namespace, frankfurt.namespace, address)
        for pair in host.uplinks:
            for address in pair.both:
                assert reaches(frankfurt.namespace, host.namespace, address)
    router = addresses.region_router(region.number)
    (transceiver,), (redis,) = region.hosts, layout.redis
    for namespace, pair in ((transceiver.namespace, transceiver.address), (redis.namespace, redis.address)):
        assert reaches(region.namespace, namespace, pair.ipv4)
        assert reaches(namespace, region.namespace, router.ipv6)
    assert not reaches(layout.cities[0].namespace, region.namespace, addresses.region_router(1).ipv4)


def test_each_end_of_a_wan_link_is_up_and_waits_for_the_wan(layout: Layout) -> None:
    network.build(layout)
    assert interfaces(layout.cities[0].namespace) == {
        "p-frankfurt": False,
        "p-tokyo": False,
        "r-europe": False,  # no carrier: nobody has them open
        "eth0": True,
        "client": True,
    }
    for router in layout.routers:
        option = Path("/proc/sys/net/ipv4/fib_multipath_hash_policy")
        with netns.inside(router.namespace):
            assert option.read_text() == "1\n"


def test_a_cable_is_pulled_where_the_router_does_not_see_it(layout: Layout) -> None:
    network.build(layout)
    pop, host = layout.pops[0], layout.pops[0].hosts[0]
    (first, second), (address, other) = host.ports, host.uplinks
    network.unplug(pop, first)
    assert interfaces(pop.namespace)[first] is False
    assert interfaces(pop.namespace)["lan0"] is True
    assert interfaces(host.namespace)["eth0"] is False
    assert not reaches(pop.namespace, host.namespace, address.ipv4)
    assert reaches(pop.namespace, host.namespace, other.ipv4)
    assert second != first
    network.plug_in(pop, first)
    assert reaches(pop.namespace, host.namespace, address.ipv4)
    assert reaches(host.namespace, pop.namespace, addresses.pop_router(pop.number).ipv6)


def test_a_namespace_that_is_taken_is_named(layout: Layout) -> None:
    taken = layout.regions[0].hosts[0].namespace
    netns.create(taken)
    with pytest.raises(DataplaneError, match=f"cannot give the network namespace {taken} its name"):
        network.build(layout)
    assert netns.exists(layout.cities[0].namespace)


def test_a_client_has_no_address_but_its_own(layout: Layout) -> None:
    """Every other one would be a candidate of its calls."""
    network.build(layout)
    city = layout.cities[0]
    command = ["ip", "-n", city.namespace, "-br", "address", "show", "scope", "global"]
    shown = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    found = {word for word in shown if "/" in word}
    assert found == set(city.client.with_lengths)

"""Routes as the kernel itself has them, in a network namespace of the test's own."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from ipaddress import ip_network

import pytest

from core.addr import IpFamily
from ebpf.net import netns
from ebpf.net.routes import Route, RouteLeg, read_routes

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes network namespaces"),
]

SCENE = """
    link add near address 02:00:00:00:00:01 type veth peer name far
    link set near up
    addr add 192.0.2.1/24 dev near
    link set far up
    nexthop add id 1 via 192.0.2.2 dev near
    nexthop add id 2 via 192.0.2.3 dev near
    nexthop add id 3 group 1/2,7
    route add 10.0.0.0/8 via 192.0.2.2 metric 20
    route add 10.1.0.0/16 nexthop via 192.0.2.2 nexthop via 192.0.2.3
    route add 10.4.0.0/16 via inet6 fe80::9 dev near
    route add 10.5.0.0/16 nhid 3
    route add blackhole 10.2.0.0/16
    -6 route add default via fe80::9 dev near
"""
PATIENCE_S = 20.0
MANY = 3000
"""Routes, so that they come in several parts."""


@pytest.fixture
def namespace() -> Iterator[str]:
    name = f"voxpop-m{os.getpid()}"
    netns.create(name)
    try:
        for line in SCENE.strip().splitlines():
            subprocess.run(["ip", "-n", name, *line.split()], check=True)
        yield name
    finally:
        netns.remove(name)


def routes(namespace: str) -> dict[str, Route]:
    with netns.inside(namespace):
        found = [route for family in IpFamily for route in read_routes(family)]
    return {str(route.prefix): route for route in found}


@pytest.mark.parametrize("compat", [1, 0], ids=["legs with routes", "legs with objects"])
def test_routes(namespace: str, compat: int) -> None:
    netns.set_option(namespace, "net/ipv4/nexthop_compat_mode", compat)
    found = routes(namespace)
    near = found["10.0.0.0/8"].legs[0].link
    via = RouteLeg(near, "192.0.2.2", True)
    assert found["10.0.0.0/8"] == Route(ip_network("10.0.0.0/8"), 20, (via,))
    assert found["10.1.0.0/16"].legs == (via, RouteLeg(near, "192.0.2.3", True))
    assert found["10.2.0.0/16"].legs == (), "it refuses on purpose"
    assert found["10.4.0.0/16"].legs == (RouteLeg(near, "fe80::9", True),), "a gateway of the other family"
    assert found["10.5.0.0/16"].legs == (via, RouteLeg(near, "192.0.2.3", True, 7))
    assert found["192.0.2.0/24"].legs == (RouteLeg(near, None, True),)
    assert found["::/0"].legs[0].gateway == "fe80::9"
    assert "192.0.2.1/32" not in found, "of the local table"


def test_a_leg_whose_link_is_down_says_so(namespace: str) -> None:
    subprocess.run(["ip", "-n", namespace, "link", "set", "far", "down"], check=True)
    deadline = time.monotonic() + PATIENCE_S
    while any(leg.is_up for leg in routes(namespace)["10.1.0.0/16"].legs):
        assert time.monotonic() < deadline, "the kernel takes a second for it at most"
        time.sleep(0.05)


def test_many_routes_are_all_read(namespace: str) -> None:
    commands = [f"route add 11.{n >> 8}.{n & 255}.0/24 via 192.0.2.2" for n in range(MANY)]
    subprocess.run(["ip", "-n", namespace, "-batch", "-"], input="\n".join(commands), text=True, check=True)
    assert sum(prefix.startswith("11.") for prefix in routes(namespace)) == MANY

"""What the kernel's own messages are read as."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator

import pytest
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

from ebpf.net import netns
from ebpf.net.messages import (
    ARPHRD_ETHER,
    IFF_UP,
    Link,
    Neighbour,
    attribute,
    read_address,
    read_link,
    read_neighbour,
)
from ebpf.net.netlink import IPRoute

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes network namespaces"),
]

SCENE = """
    link add near address 02:00:00:00:00:01 mtu 1400 type veth peer name far
    link set near up
    addr add 192.0.2.1/24 dev near
    addr add 10.9.0.1 peer 10.9.0.2/32 dev near
    link set far up
    route add 10.0.0.0/8 via 192.0.2.2 metric 20
    route add 10.1.0.0/16 nexthop via 192.0.2.2 nexthop via 192.0.2.3
    route add 10.4.0.0/16 via inet6 fe80::9 dev near
    route add blackhole 10.2.0.0/16
    -6 route add default via fe80::9 dev near
    neigh replace 192.0.2.2 lladdr 02:00:00:00:00:09 dev near nud permanent
    neigh replace 192.0.2.3 dev near nud failed
"""


@pytest.fixture(scope="module")
def kernel() -> Iterator[IPRoute]:
    name = f"voxpop-m{os.getpid()}"
    netns.create(name)
    try:
        for line in SCENE.strip().splitlines():
            subprocess.run(["ip", "-n", name, *line.split()], check=True)
        with netns.inside(name):
            opened = IPRoute()
        yield opened
        opened.close()
    finally:
        netns.remove(name)


def links(kernel: IPRoute) -> dict[str, Link]:
    return {link.name: link for link in map(read_link, kernel.get_links())}


def test_links(kernel: IPRoute) -> None:
    found = links(kernel)
    near = found["near"]
    assert (near.mac, near.mtu, near.kind, near.vlan) == (bytes.fromhex("020000000001"), 1400, "veth", None)
    assert near.is_up
    assert near.is_ethernet
    assert near.xdp_program is None
    assert not found["lo"].is_ethernet
    assert near.parent == found["far"].number, "of a pair, the other end"


@pytest.mark.parametrize(
    ("protocol", "tag"), [([], (0x8100, 200)), ([("IFLA_VLAN_PROTOCOL", 0x88A8)], (0x88A8, 200))]
)
def test_a_vlan_interface_adds_its_tag(protocol: list[tuple[str, int]], tag: tuple[int, int]) -> None:
    """Not every kernel can make one, so this is a message of pyroute2's own."""
    message = ifinfmsg()
    message["index"], message["flags"], message["ifi_type"] = 7, IFF_UP, ARPHRD_ETHER
    data = {"attrs": [("IFLA_VLAN_ID", 200), *protocol]}
    message["attrs"] = [
        ("IFLA_IFNAME", "tagged"),
        ("IFLA_LINK", 3),
        ("IFLA_LINKINFO", {"attrs": [("IFLA_INFO_KIND", "vlan"), ("IFLA_INFO_DATA", data)]}),
    ]
    message.encode()
    received = ifinfmsg(message.data)
    received.decode()
    link = read_link(received)
    assert (link.vlan, link.parent, link.kind) == (tag, 3, "vlan")
    assert not link.is_up, "it has no carrier"
    assert (link.mtu, link.mac) == (0, b"")


def test_of_two_ends_the_address_is_ours(kernel: IPRoute) -> None:
    near = links(kernel)["near"].number
    assert set(map(read_address, kernel.get_addr(index=near))) >= {"192.0.2.1", "10.9.0.1"}


def test_neighbours(kernel: IPRoute) -> None:
    near = links(kernel)["near"].number
    found = {n.host: n for n in map(read_neighbour, kernel.get_neighbours()) if n is not None}
    known, failed = (found[host]._replace(unconfirmed_s=0.0) for host in ("192.0.2.2", "192.0.2.3"))
    assert known == Neighbour(near, "192.0.2.2", bytes.fromhex("020000000009"), False, is_static=True)
    assert failed == Neighbour(near, "192.0.2.3", None, True)


def test_what_is_of_no_host_is_nothing() -> None:
    class Bare(dict[str, int]):
        def get_attr(self, name: str) -> None:
            """None: it has no attributes."""

    assert read_neighbour(Bare(flags=0x200)) is None
    assert attribute(Bare(), "IFLA_XDP", "IFLA_XDP_PROG_ID") is None


def test_what_a_link_is_a_part_of_is_read() -> None:
    """A VRF, for one; not every kernel can make one, so this is a message of pyroute2's own."""
    message = ifinfmsg()
    message["index"], message["ifi_type"] = 7, ARPHRD_ETHER
    message["attrs"] = [
        ("IFLA_IFNAME", "red"),
        ("IFLA_MASTER", 9),
        ("IFLA_LINKINFO", {"attrs": [("IFLA_INFO_KIND", "vrf")]}),
    ]
    message.encode()
    received = ifinfmsg(message.data)
    received.decode()
    link = read_link(received)
    assert (link.master, link.kind) == (9, "vrf")

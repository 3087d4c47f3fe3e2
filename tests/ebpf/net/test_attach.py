"""Attaching, replacing and taking off, on veth pairs of a network namespace of the test's own."""

from __future__ import annotations

import logging
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ebpf import loader, pins
from ebpf.errors import AttachError, DataplaneError
from ebpf.kernel.testrun import run
from ebpf.loader import Program
from ebpf.net import attach as netdev
from ebpf.net.attach import Mode, Netdev
from tests.ebpf.rig import SIZES, Rig
from tests.paths import programs

pytestmark = pytest.mark.netns

BRIDGE = "br0"
"""Bridges have no native XDP."""


@pytest.fixture
def namespace() -> Iterator[str]:
    if os.geteuid() != 0:
        pytest.skip("needs root: makes a network namespace")
    name = f"voxpop-test-{os.getpid()}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    script = f"""
        link add pop0 type veth peer name client0
        link add {BRIDGE} type bridge
        link set pop0 up
        link set client0 up
        link set {BRIDGE} up
        addr add 192.0.2.1/24 dev pop0
        addr add 2001:db8::1/64 dev pop0 nodad
    """
    for line in script.strip().splitlines():
        subprocess.run(["ip", "-n", name, *line.split()], check=True)
    yield name
    subprocess.run(["ip", "netns", "del", name], check=True)


@pytest.fixture
def links(namespace: str) -> Iterator[Netdev]:
    with Netdev(namespace) as opened:
        yield opened


def test_what_there_is(links: Netdev) -> None:
    pop = links.link("pop0")
    assert (pop.name, pop.mtu, len(pop.mac), pop.is_up) == ("pop0", 1500, 6, True)
    assert (pop.is_ethernet, pop.kind, pop.xdp_program) == (True, "veth", None)
    assert {"192.0.2.1", "2001:db8::1"} <= set(links.addresses(pop.number))
    assert {each.name for each in links.links()} == {"lo", "pop0", "client0", BRIDGE}
    with pytest.raises(DataplaneError, match=r"no interface eth9; there are .*pop0"):
        links.link("eth9")


def test_of_an_address_with_a_peer_it_is_ours(namespace: str, links: Netdev) -> None:
    words = "addr add 10.9.0.1 peer 10.9.0.2/32 dev pop0"
    subprocess.run(["ip", "-n", namespace, *words.split()], check=True)
    addresses = links.addresses(links.link("pop0").number)
    assert "10.9.0.1" in addresses
    assert "10.9.0.2" not in addresses


def test_prefixes_are_those_of_addresses_and_of_routes_in_any_table(namespace: str, links: Netdev) -> None:
    for words in (
        *("link add off type veth peer name beyond", "addr add 203.0.113.9/24 dev off"),
        *("addr add 10.9.0.1 peer 10.9.0.2/32 dev pop0", "route add blackhole 10.2.0.0/16"),
        *("route add 10.3.0.0/16 via 192.0.2.2 table 77", "-6 route add default via fe80::9 dev pop0"),
    ):
        subprocess.run(["ip", "-n", namespace, *words.split()], check=True)
    found = set(map(str, links.prefixes()))
    assert {"192.0.2.1/32", "192.0.2.0/24", "2001:db8::1/128", "2001:db8::/64"} <= found
    assert {"203.0.113.9/32", "203.0.113.0/24"} <= found, "an interface that is off has no route"
    assert {"10.9.0.1/32", "10.9.0.2/32", "10.2.0.0/16", "10.3.0.0/16", "::/0"} <= found
    assert not any(prefix.startswith("198.51.100.") for prefix in found)


def test_routes_are_those_of_the_main_table_with_all_their_legs(namespace: str, links: Netdev) -> None:
    for words in (
        "route add 198.51.100.0/24 nexthop via 192.0.2.2 nexthop via 192.0.2.3",
        "route add 203.0.113.0/24 via 192.0.2.2 table 77",
        "-6 route add 2001:db8:1::/48 via 2001:db8::2 metric 7",
    ):
        subprocess.run(["ip", "-n", namespace, *words.split()], check=True)
    found = {str(route.prefix): route for route in links.routes()}
    assert [leg.gateway for leg in found["198.51.100.0/24"].legs] == ["192.0.2.2", "192.0.2.3"]
    assert "203.0.113.0/24" not in found
    (leg,) = found["2001:db8:1::/48"].legs
    assert (leg.gateway, found["2001:db8:1::/48"].metric) == ("2001:db8::2", 7)
    assert [leg.gateway for leg in found["192.0.2.0/24"].legs] == [None]


def test_attach_replace_detach(links: Netdev, rig: Rig) -> None:
    public, backbone = (rig.loaded.fds[program] for program in (Program.PUBLIC, Program.BACKBONE))
    assert links.attached("pop0") is None
    assert not links.detach("pop0", public)
    assert links.attach("pop0", public) == Mode.NATIVE
    first = links.attached("pop0")
    assert first is not None
    assert first.mode == Mode.NATIVE
    with pytest.raises(AttachError, match="has an XDP program already"):
        links.attach("pop0", backbone)
    with pytest.raises(AttachError, match="another XDP program than ours"):
        links.replace("pop0", public, backbone)
    with pytest.raises(AttachError, match="another XDP program than ours"):
        links.detach("pop0", backbone)
    assert links.attached("pop0") == first
    assert links.replace("pop0", backbone, public) == Mode.NATIVE
    second = links.attached("pop0")
    assert second is not None
    assert second.program_id != first.program_id
    assert links.detach("pop0", backbone)
    assert links.attached("pop0") is None


def test_generic_where_the_driver_refuses(links: Netdev, rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    program = rig.loaded.fds[Program.PUBLIC]
    with pytest.raises(AttachError, match="refuses the program in native mode"):
        links.attach(BRIDGE, program, mode=Mode.NATIVE)
    with caplog.at_level(logging.WARNING, netdev.log.name):
        assert links.attach(BRIDGE, program) == Mode.GENERIC
    assert "refuses native XDP" in caplog.text
    attachment = links.attached(BRIDGE)
    assert attachment is not None
    assert attachment.mode == Mode.GENERIC
    assert links.replace(BRIDGE, rig.loaded.fds[Program.BACKBONE], program) == Mode.GENERIC
    assert links.detach(BRIDGE, rig.loaded.fds[Program.BACKBONE])


def test_a_program_outlives_its_loader_and_is_found_again(links: Netdev, bpffs: Path) -> None:
    """Load, pin, attach, forget; load anew over the same maps and replace, as an upgrade does."""
    directory = bpffs / "upgrade" / "v1"
    pins.ensure_maps(directory, SIZES)
    old = loader.load_kept(directory, programs(bpffs))
    loader.pin(old, directory)
    links.attach("pop0", old.fds[Program.BACKBONE])
    old.close()
    new = loader.load_kept(directory, programs(bpffs))
    running = pins.open_pinned_program(directory, Program.BACKBONE)
    assert links.replace("pop0", new.fds[Program.BACKBONE], running) == Mode.NATIVE
    os.close(running)
    loader.pin(new, directory)
    pinned = pins.open_pinned_program(directory, Program.BACKBONE)
    assert run(pinned, bytes(60)).action.name == "PASS"
    assert links.detach("pop0", pinned)
    os.close(pinned)
    new.close()
    pins.unpin(directory)
    assert not directory.exists()

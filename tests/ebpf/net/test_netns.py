"""Namespaces and pairs, by the kernel's own word for them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ebpf.errors import DataplaneError
from ebpf.net import netns
from ebpf.net.netns import Wiring
from tests.reach import reaches

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes network namespaces"),
]


@pytest.fixture
def pair() -> Iterator[tuple[str, str]]:
    names = f"voxpop-n{os.getpid()}-a", f"voxpop-n{os.getpid()}-b"
    for name in names:
        netns.create(name)
    yield names
    for name in names:
        netns.remove(name)
        assert not netns.exists(name)


def own() -> str:
    return str(Path("/proc/thread-self/ns/net").readlink())


def test_inside_is_elsewhere_and_ends_where_it_began(pair: tuple[str, str]) -> None:
    home = own()
    identity = netns.identity(pair[0])
    assert identity is not None
    with netns.inside(pair[0]):
        assert own() == f"net:[{identity[1]}]" != home
        child = subprocess.run(["readlink", "/proc/self/ns/net"], capture_output=True, text=True, check=True)
        assert child.stdout.strip() == own()
        with pytest.raises(ZeroDivisionError), netns.inside(pair[1]):
            raise ZeroDivisionError
        assert own() == f"net:[{identity[1]}]"
    assert own() == home
    with netns.inside(None):
        assert own() == home


def test_identities_tell_namespaces_apart(pair: tuple[str, str]) -> None:
    a, b = map(netns.identity, pair)
    assert a != b
    assert netns.identity("voxpop-none") is None
    assert netns.identity_of_process(os.getpid()) not in (None, a, b)
    with netns.inside(pair[0]), subprocess.Popen(["sleep", "60"]) as sleeper:
        assert netns.identity_of_process(sleeper.pid) == a
        sleeper.kill()
    assert netns.identity_of_process(sleeper.pid) is None


def test_loopback_is_up_and_a_name_is_taken_once(pair: tuple[str, str]) -> None:
    with netns.inside(pair[0]):
        assert reaches(None, None, "127.0.0.1")
    with pytest.raises(DataplaneError, match=f"cannot give the network namespace {pair[0]} its name"):
        netns.create(pair[0])
    with pytest.raises(DataplaneError, match="cannot enter the network namespace voxpop-none"):
        netns.enter("voxpop-none")
    netns.remove("voxpop-none")  # there is none, as wanted


def test_a_pair_with_addresses_carries_packets(pair: tuple[str, str]) -> None:
    with Wiring(pair[0]) as here, Wiring(pair[1]) as there:
        here.veth("near", "far", pair[1])
        assert here.exists("near")
        assert not here.exists("far")
        for wiring, name, number in ((here, "near", 1), (there, "far", 2)):
            wiring.up(name)
            wiring.prepare_for_xdp(name)
            wiring.address(name, f"192.0.2.{number}/24")
            wiring.address(name, f"2001:db8::{number}/64")
        here.route("198.51.100.0/24", "192.0.2.2", source="192.0.2.1")
        there.address("far", "198.51.100.9/32")
        for host in ("192.0.2.2", "2001:db8::2", "198.51.100.9"):
            assert reaches(*pair, host)
        here.delete("near")
        assert not there.exists("far"), "the other end goes with it"


def test_refusals_say_what_could_not_be_done(pair: tuple[str, str]) -> None:
    with Wiring(pair[0]) as wiring:
        with pytest.raises(DataplaneError, match="there is no interface none"):
            wiring.up("none")
        with pytest.raises(
            DataplaneError, match=r"cannot route 10\.0\.0\.0/8 to 192\.0\.2\.2: Network is unreachable"
        ):
            wiring.route("10.0.0.0/8", "192.0.2.2")
        wiring.delete("none")  # there is none, as wanted
        wiring.veth("near", "far", None)
        with pytest.raises(DataplaneError, match="cannot make the pair near–far: File exists"):
            wiring.veth("near", "far", None)
    with Wiring(None) as own_wiring:
        own_wiring.delete("far")


def test_no_address_is_looked_for_before_it_is_used(pair: tuple[str, str]) -> None:
    """IPv6 asks for neighbours from an address of the link, and for a second or two it would have none."""
    with Wiring(pair[0]) as one:
        one.veth("a", "b", pair[1])
    for namespace, name in ((pair[0], "a"), (pair[1], "b")):
        for each in ("all", name):  # the kernel takes the greater
            with netns.inside(namespace):
                assert Path(f"/proc/sys/net/ipv6/conf/{each}/accept_dad").read_text() == "0\n"


def test_a_bridge_carries_what_its_ports_are_sent(pair: tuple[str, str]) -> None:
    a, b = pair
    with Wiring(a) as wiring:
        wiring.bridge("br0")
        wiring.veth("port", "eth0", b)
        wiring.join("port", "br0")
        for name in ("br0", "port"):
            wiring.up(name)
        wiring.address("br0", "192.0.2.1/24")
        with pytest.raises(DataplaneError, match=r"cannot make the bridge br0: File exists"):
            wiring.bridge("br0")
        with pytest.raises(DataplaneError, match=r"there is no interface br1"):
            wiring.join("port", "br1")
    with Wiring(b) as wiring:
        wiring.up("eth0")
        wiring.address("eth0", "192.0.2.2/24")
    assert reaches(a, b, "192.0.2.2")
    with Wiring(a) as wiring:
        wiring.down("port")
    assert not reaches(b, a, "192.0.2.1")


def test_an_option_is_set_there_and_nowhere_else(pair: tuple[str, str]) -> None:
    a, b = pair
    path = Path("/proc/sys/net/ipv4/fib_multipath_hash_policy")
    netns.set_option(a, "net/ipv4/fib_multipath_hash_policy", 1)
    with netns.inside(a):
        assert path.read_text() == "1\n"
    with netns.inside(b):
        assert path.read_text() == "0\n"
    with pytest.raises(DataplaneError, match=r"cannot set net\.ipv4\.nothing in voxpop-n\d+-a: No such file"):
        netns.set_option(a, "net/ipv4/nothing", 1)

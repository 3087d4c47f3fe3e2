"""A PoP's router, hosts behind it, and a city over the WAN, each with a real BIRD in a namespace."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path

from ebpf.net import netns
from ebpf.net.netns import Wiring
from edge.lab.bird.config import Host, Peer, Router, render_host, render_router
from edge.lab.bird.control import BirdControl, command
from edge.lab.bird.replies import BirdError
from tests.processes import end

PATIENCE_S = 40.0
UP = "voxpop-up"
VIPS = ("198.51.100.0/24", "2001:db8:f::/48")
BACKBONE = ("10.1.1.0/24", "fd00:1:1::/48")
CLIENTS = ("203.0.113.0/24", "2001:db8:c::/48")
POP_ASN, CITY_ASN = 65001, 65002
HOST_CONFIG = """
[token]
keys_file = "keys.toml"
[[cluster]]
id = 1
ipv4 = "10.2.0.0/24"
ports = [40000, 40007]
[relay]
pop = "here"
vips = ["198.51.100.1:3478", "[2001:db8:f::1]:3478"]
forwarder = "userspace"
workers = 1
admin_socket = "relay.sock"
[announce]
interval_ms = 100
rise = 2
fall = 5
hold_down_s = 1
"""
"""What a host with VIPs runs its relay and its checker by; `keys.toml` has to be beside it."""


def router(hosts: int, withheld: tuple[str, ...] = ()) -> Router:
    """Of the PoP."""
    peers = [
        Peer(f"host{number}_{version}", address, POP_ASN)
        for number in range(1, hosts + 1)
        for version, address in ((4, f"10.1.1.{1 + number}"), (6, f"fd00:1:1::{1 + number}"))
    ]
    wan = (Peer("city", "fe80::2", CITY_ASN, "wan0"),)
    return Router(
        "10.1.1.1", POP_ASN, BACKBONE, wan, VIPS, tuple(peers), withheld, ("10.1.1.1", "fd00:1:1::1")
    )


def host(number: int, while_up: tuple[str, ...] = VIPS, interface: str = UP) -> Host:
    """Behind it."""
    routers = (Peer("router_4", "10.1.1.1", POP_ASN), Peer("router_6", "fd00:1:1::1", POP_ASN))
    always = (f"10.1.1.{127 + number}/32", f"fd00:1:1:b::{number}/128")
    return Host(f"10.1.1.{1 + number}", POP_ASN, routers, always, while_up, interface)


CITY = Router("203.0.113.1", CITY_ASN, CLIENTS, (Peer("pop", "fe80::1", POP_ASN, "wan0"),))


class Scene:
    """Namespaces by the names `pop`, `city`, `host1` …, and the BIRD in each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.birds: dict[str, subprocess.Popen[bytes]] = {}

    def namespace(self, place: str) -> str:
        return f"voxpop-b{os.getpid()}-{place}"

    def control(self, place: str) -> BirdControl:
        return BirdControl(self.folder / f"{place}.sock")

    def ip(self, place: str, *words: str) -> str:
        """What `ip` says there."""
        with netns.inside(self.namespace(place)):
            return subprocess.run(["ip", *words], capture_output=True, text=True, check=True).stdout

    def set_option(self, place: str, option: str, value: int) -> None:
        """A sysctl."""
        netns.set_option(self.namespace(place), option, value)

    def write(self, place: str, text: str) -> None:
        (self.folder / f"{place}.conf").write_text(text)

    def start(self, place: str) -> None:
        """Start a BIRD; it answers at once."""
        what = command(self.folder / f"{place}.conf", self.folder / f"{place}.sock")
        with netns.inside(self.namespace(place)), (self.folder / f"{place}.log").open("ab") as log:
            self.birds[place] = subprocess.Popen(what, stderr=log, start_new_session=True)
        self.until(lambda: bool(self.control(place).protocols()))

    def until(self, what: Callable[[], bool], patience_s: float = PATIENCE_S) -> float:
        """Wait until it is so; how long that took, in seconds."""
        began = time.monotonic()
        while True:
            try:
                if what():
                    return time.monotonic() - began
            except BirdError:
                pass
            assert time.monotonic() - began < patience_s, self.logs()
            time.sleep(0.01)  # BIRD tells nobody when something has changed

    def announcers(self, prefix: str) -> set[str]:
        """By which hosts' sessions the router knows of a prefix."""
        routes = self.control("pop").routes(6 if ":" in prefix else 4)
        return {route.protocol for route in routes if route.prefix == prefix}

    def next_hops(self, place: str, prefix: str) -> set[str]:
        """To whom the kernel of a place sends what is for a prefix."""
        shown = self.ip(place, "-6" if ":" in prefix else "-4", "route", "show", prefix)
        words = shown.replace("via inet6", "via").split()
        return {after for word, after in pairwise(words) if word == "via"}

    def logs(self) -> Mapping[str, str]:
        return {path.name: path.read_text()[-2000:] for path in self.folder.glob("*.log")}


@contextmanager
def scene(folder: Path, hosts: int) -> Iterator[Scene]:
    """Everything but the hosts' UP interfaces; nothing of it is left afterwards."""
    made = Scene(folder)
    places = ["pop", "city", *(f"host{number}" for number in range(1, hosts + 1))]
    with ExitStack() as stack:
        for place in places:
            netns.create(made.namespace(place))
            stack.callback(netns.remove, made.namespace(place))
        _wire(made, hosts)
        made.write("pop", render_router(router(hosts)))
        made.write("city", render_router(CITY))
        for number in range(1, hosts + 1):
            made.write(f"host{number}", render_host(host(number)))
        stack.callback(lambda: [end(bird, signal.SIGKILL) for bird in made.birds.values()])
        for place in places:
            made.start(place)
        yield made


def _wire(made: Scene, hosts: int) -> None:
    """Hosts are behind a bridge that has a carrier whatever becomes of them, as a switch has."""
    for option in ("net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"):
        made.set_option("pop", option, 1)
    with Wiring(made.namespace("pop")) as pop:
        pop.bridge("lan0")
        pop.veth("spare", "open", made.namespace("pop"))
        pop.join("spare", "lan0")
        for end_of_spare in ("spare", "open"):
            pop.up(end_of_spare)
        pop.veth("wan0", "wan0", made.namespace("city"))
        for place in ("pop", "city"):
            made.set_option(place, "net/ipv6/conf/wan0/addr_gen_mode", 1)  # none but those given below
        for number in range(1, hosts + 1):
            pop.veth(f"port{number}", "eth0", made.namespace(f"host{number}"))
            pop.join(f"port{number}", "lan0")
            pop.up(f"port{number}")
        for interface, addresses in (("lan0", ("10.1.1.1/26", "fd00:1:1::1/64")), ("wan0", ("fe80::1/64",))):
            _give(pop, interface, *addresses)
    with Wiring(made.namespace("city")) as city:
        _give(city, "wan0", "fe80::2/64")
        _give(city, "lo", "203.0.113.1/24", "2001:db8:c::1/48")
    for number in range(1, hosts + 1):
        with Wiring(made.namespace(f"host{number}")) as wiring:
            _give(wiring, "eth0", f"10.1.1.{1 + number}/26", f"fd00:1:1::{1 + number}/64")
            _give(wiring, "lo", *host(number).always, "198.51.100.1/32", "2001:db8:f::1/128")


def _give(wiring: Wiring, interface: str, *addresses: str) -> None:
    wiring.up(interface)
    for address in addresses:
        wiring.address(interface, address)

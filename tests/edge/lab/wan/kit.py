"""A WAN of one link between two namespaces, in a process of its own, as a lab has it."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from core.service import process
from core.service.process import Child
from ebpf.net import netns, tun
from ebpf.net.netns import Wiring
from edge.lab.wan.control import WanControl
from edge.lab.wan.delay import Conditions
from edge.lab.wan.links import End, Link, dump
from edge.lab.wan.run import command
from tests.processes import end

PLACES = ("here", "there")
INTERFACE = "wan0"
LINK = "here-there"
PATIENCE_S = 30.0
SO_RCVBUFFORCE, SO_TIMESTAMPNS = 33, 35
"""asm-generic/socket.h"""


@dataclass(frozen=True, slots=True)
class Rig:
    """The link, and how to play at its ends."""

    namespaces: tuple[str, str]
    version: int
    control: WanControl
    child: Child

    @property
    def hosts(self) -> tuple[str, str]:
        """The addresses of the ends."""
        return ("192.0.2.1", "192.0.2.2") if self.version == 4 else ("2001:db8::1", "2001:db8::2")

    def socket(self, end: int) -> socket.socket:
        """A UDP socket at an end, bound to its address and any port, with room for a few thousand."""
        af = socket.AF_INET if self.version == 4 else socket.AF_INET6
        with netns.inside(self.namespaces[end]):
            opened = socket.socket(af, socket.SOCK_DGRAM)
        opened.bind((self.hosts[end], 0))
        opened.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 16 * 1024 * 1024)
        opened.settimeout(PATIENCE_S)
        return opened


def links(namespaces: Sequence[str], conditions: Conditions) -> list[Link]:
    """What the process is told."""
    a, b = (End(place, name, INTERFACE) for place, name in zip(PLACES, namespaces, strict=True))
    return [Link(LINK, (a, b), conditions)]


@contextmanager
def rig(folder: Path, conditions: Conditions, seed: int = 0, version: int = 4) -> Iterator[Rig]:
    """A WAN that carries packets; nothing of it is left afterwards. For IPv4 there is no IPv6, which speaks
    of itself on every interface, so every packet is one that a test has sent.
    """
    names = f"voxpop-w{os.getpid()}-here", f"voxpop-w{os.getpid()}-there"
    try:
        for number, name in enumerate(names, 1):
            netns.create(name)
            if version == 4:
                for those in ("all", "default"):
                    netns.set_option(name, f"net/ipv6/conf/{those}/disable_ipv6", 1)
            tun.create(name, INTERFACE)
            with Wiring(name) as wiring:
                wiring.up(INTERFACE)
                address = f"192.0.2.{number}/24" if version == 4 else f"2001:db8::{number}/64"
                wiring.address(INTERFACE, address)
        (folder / "links.json").write_text(dump(links(names, conditions)))
        what = command(folder / "links.json", folder / "wan.sock", seed)
        child = process.spawn("wan", what, folder / "wan.log", stdout=subprocess.PIPE)
        try:
            assert process.first_line(child, PATIENCE_S) == b"ready\n", child.text()
            yield Rig(names, version, WanControl(folder / "wan.sock"), child)
        finally:
            end(child.popen)
            assert child.popen.stdout is not None
            child.popen.stdout.close()
    finally:
        for name in names:
            netns.remove(name)

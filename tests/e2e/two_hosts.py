"""Two hosts of one PoP behind a router that leads to one of them, and a world with caller, region and store.

    world: caller 198.51.100.7, transceiver 10.66.0.1 ──┬── host a, 10.66.1.2 ── VIP 192.0.2.1
                                                        └── host b, 10.66.2.2 ── the same VIP

The world is the router too: one route decides which host gets what is for the VIP.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from core.addr import Endpoint
from core.service import process
from core.service.process import Child
from ebpf.kernel import bpffs
from ebpf.net import netns
from ebpf.net.netns import Wiring
from tests.edge.kit import MASTERS, write_keys

VIP = Endpoint("192.0.2.1", 3478)
CALLER, REGION = "198.51.100.7", "10.66.0.1"
HOSTS = ("a", "b")
LINK = "eth0"
"""A host's end of its link."""
URL = "http://127.0.0.1:8080"
RELAY_STATUS, TRANSCEIVER_STATUS = Endpoint("127.0.0.1", 9464), Endpoint("127.0.0.1", 9465)
_numbers = itertools.count()


@dataclass(frozen=True, slots=True)
class Host:
    """One of the two."""

    name: str
    namespace: str
    folder: Path
    address: str
    gateway: str
    interface: str
    """The router's end of the link."""


class TwoHosts:
    """A context manager: everything runs inside, host `a` has the VIP."""

    def __init__(self, folder: Path, forwarder: str, store: str | None) -> None:
        self._folder = folder
        self._forwarder = forwarder
        self._store = "" if store is None else f'[store]\nurl = "{store}"\n'
        prefix = f"vpe-{os.getpid()}-{next(_numbers)}"
        self.world = f"{prefix}-world"
        self.hosts = {
            name: Host(
                name,
                f"{prefix}-{name}",
                folder / name,
                f"10.66.{number}.2",
                f"10.66.{number}.1",
                f"to-{name}",
            )
            for number, name in enumerate(HOSTS, 1)
        }
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> TwoHosts:
        with contextlib.ExitStack() as stack:
            for namespace in (self.world, *(host.namespace for host in self.hosts.values())):
                netns.create(namespace)
                stack.callback(netns.remove, namespace)
            self._wire()
            write_keys(self._folder / "keys.toml", {1: MASTERS[1]}, 1)
            (self._folder / "voxpop.toml").write_text(self._region_config())
            self._start(stack, self.world, self._folder, "transceiver", TRANSCEIVER_STATUS)
            for host in self.hosts.values():
                self._start_host(stack, host)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _wire(self) -> None:
        for host in self.hosts.values():
            with Wiring(self.world) as world:
                world.veth(host.interface, LINK, host.namespace)
                world.address(host.interface, f"{host.gateway}/24")
                world.up(host.interface)
            with Wiring(host.namespace) as wiring:
                wiring.address(LINK, f"{host.address}/24")
                wiring.address("lo", f"{VIP.host}/32")
                wiring.up(LINK)
                wiring.route("0.0.0.0/0", host.gateway)
            with Wiring(self.world) as world:
                world.prepare_for_xdp(host.interface)
        with Wiring(self.world) as world:
            world.address("lo", f"{CALLER}/32")
            world.address("lo", f"{REGION}/32")
        self.lead_to("a")

    def lead_to(self, name: str) -> int:
        """Give the VIP to a host; when that was, monotonic ns."""
        host = self.hosts[name]
        route = [f"{VIP.host}/32", "via", host.address, "src", CALLER]
        subprocess.run(["ip", "-n", self.world, "route", "replace", *route], check=True)
        return time.monotonic_ns()

    def cut(self, name: str) -> int:
        """Take a host off its link; when that was, monotonic ns."""
        subprocess.run(["ip", "-n", self.hosts[name].namespace, "link", "set", LINK, "down"], check=True)
        return time.monotonic_ns()

    def _cluster(self) -> str:
        return (
            f'[token]\nkeys_file = "{self._folder}/keys.toml"\n'
            f'[[cluster]]\nid = 1\nipv4 = "{REGION}/32"\nports = [40000, 40000]\n'
        )

    def _region_config(self) -> str:
        return (
            f'{self._cluster()}[[pop]]\nid = "here"\nvips = ["{VIP}"]\n'
            '[transceiver]\ncluster = 1\nhost = 0\nhttp = "127.0.0.1:8080"\nopen = true\n'
            f'processes = 1\nmax_loop_lag_ms = 10000\nmetrics = "{TRANSCEIVER_STATUS}"\n'
            'admin_socket = "transceiver.sock"\n'
        )

    def _start_host(self, stack: contextlib.ExitStack, host: Host) -> None:
        host.folder.mkdir()
        pins = host.folder / "bpf"
        (host.folder / "voxpop.toml").write_text(
            f'{self._cluster()}[relay]\npop = "here"\nhost = "{host.folder.name}"\nvips = ["{VIP}"]\n'
            f'workers = 1\nforwarder = "{self._forwarder}"\nmetrics = "{RELAY_STATUS}"\n'
            'admin_socket = "relay.sock"\n'
            f"{self._store}"
            f'[dataplane]\ninterfaces = ["{LINK}"]\nbackbone = ["{host.address}"]\n'
            f'pin_dir = "{pins}/voxpop"\n'
        )
        if self._forwarder == "xdp":
            pins.mkdir()
            bpffs.mount(pins)
            stack.callback(bpffs.unmount, pins)
            with netns.inside(host.namespace):
                child = process.spawn(
                    "dataplane", _command(host.folder, "dataplane", "run"), host.folder / "dataplane.log"
                )
            assert child.popen.wait(60) == 0, (host.folder / "dataplane.log").read_text()
        self._start(stack, host.namespace, host.folder, "relay", RELAY_STATUS)

    def _start(
        self, stack: contextlib.ExitStack, namespace: str, folder: Path, verb: str, status: Endpoint
    ) -> Child:
        with netns.inside(namespace):
            child = process.spawn(verb, _command(folder, verb), folder / f"{verb}.log", ends_with_us=True)
            stack.callback(process.end, child, signal.SIGINT)
            process.until_ready(child, status)
        return child


def _command(folder: Path, *verb: str) -> list[str]:
    return ["voxpop", *verb, "--config", str(folder / "voxpop.toml")]


@contextlib.contextmanager
def two_hosts(folder: Path, forwarder: str, store: str | None) -> Iterator[TwoHosts]:
    """Both hosts and the region, ready; the caller's thread is in the world."""
    with TwoHosts(folder, forwarder, store) as hosts, netns.inside(hosts.world):
        yield hosts

"""A client, a PoP and a region in network namespaces of the test's own, with the real commands in them.

    client ── 203.0.113.0/24 ── PoP, VIPs 198.51.100.1 and 2001:db8:f::1 ── 192.0.2.0/24 ── region

The client is on a link with the PoP; transceivers are behind the region's end, as behind a router.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from core.addr import Endpoint
from ebpf import layout
from ebpf.kernel import bpffs
from ebpf.net import netns
from ebpf.net.netns import Wiring
from ebpf.tables import Tables
from tests.edge.kit import (
    CLUSTER,
    MASTERS,
    MEDIA,
    PATIENCE_S,
    REPOSITORY,
    Peer,
    eventually,
    mint_ufrag,
    request,
    store_table,
    write_keys,
)
from tests.paths import programs
from tests.processes import end

VIPS = (Endpoint("198.51.100.1", 3478), Endpoint("2001:db8:f::1", 3478))
CLIENTS = ("203.0.113.2", "2001:db8:c::2")
BACKBONES = ("192.0.2.10", "2001:db8:b::10")
GATEWAYS = ("192.0.2.2", "2001:db8:b::2")
TRANSCEIVERS = ("10.20.0.1", "2001:db8:20::1")
PREFIXES = ("10.20.0.0/16", "2001:db8:20::/64")

_numbers = itertools.count()


class Scene:
    """The namespaces and links; a context manager."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.pin_root = directory / "bpf"
        prefix = f"vpx-{os.getpid()}-{next(_numbers)}"
        self.client, self.pop, self.region = (f"{prefix}-{end}" for end in ("client", "pop", "region"))
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Scene:
        with contextlib.ExitStack() as stack:
            for name in (self.client, self.pop, self.region):
                netns.create(name)
                stack.callback(netns.remove, name)
            self.pin_root.mkdir()
            bpffs.mount(self.pin_root)
            stack.callback(bpffs.unmount, self.pin_root)
            self._wire()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _wire(self) -> None:
        with Wiring(self.pop) as pop:
            pop.veth("pub", "c0", self.client)
            pop.veth("bb", "r0", self.region)
            for address in ("203.0.113.1/24", "2001:db8:c::1/64", "198.51.100.1/32", "2001:db8:f::1/128"):
                pop.address("pub", address)
            for address in ("192.0.2.10/24", "2001:db8:b::10/64"):
                pop.address("bb", address)
            pop.up("pub")
            pop.up("bb")
            for prefix, gateway in zip(PREFIXES, GATEWAYS, strict=True):
                pop.route(prefix, gateway)
        with Wiring(self.client) as client:
            for address in ("203.0.113.2/24", "2001:db8:c::2/64"):
                client.address("c0", address)
            client.up("c0")
            client.prepare_for_xdp("c0")
            client.route("0.0.0.0/0", "203.0.113.1")
            client.route("::/0", "2001:db8:c::1")
        with Wiring(self.region) as region:
            for address in ("192.0.2.2/24", "2001:db8:b::2/64", "10.20.0.1/32", "2001:db8:20::1/128"):
                region.address("r0", address)
            region.up("r0")
            region.prepare_for_xdp("r0")

    @property
    def pins(self) -> Path:
        return self.pin_root / "voxpop" / f"v{layout.SCHEMA_VERSION}"

    def ip(self, namespace: str, *arguments: str) -> None:
        """`ip` in a namespace."""
        subprocess.run(["ip", "-n", namespace, *arguments], check=True)

    def peer(self, namespace: str, host: str, port: int = 0) -> Peer:
        """A UDP socket in a namespace."""
        with netns.inside(namespace):
            opened = Peer(host, port)
        self._stack.callback(opened.close)
        return opened

    def tables(self) -> Tables:
        return Tables(self.pins)


class Pop:
    """The commands of the PoP host, under one configuration."""

    def __init__(
        self,
        scene: Scene,
        *,
        dataplane: dict[str, object] | None = None,
        store: str | None = None,
        **relay: object,
    ) -> None:
        """`store` is the URL of one."""
        self.scene = scene
        self.store = store
        self.config = scene.directory / "voxpop.toml"
        self.log = scene.directory / "relay.log"
        self.relay: dict[str, object] = {
            "pop": "test",
            "vips": [str(vip) for vip in VIPS],
            "workers": 1,
            "max_flows": 1000,
            "forwarder": "xdp",
            "admin_socket": "relay.sock",
            "answer_timeout_s": 600,  # transceivers of tests say nothing unasked
            **relay,
        }
        self.dataplane: dict[str, object] = {
            "interfaces": ["pub", "bb"],
            "backbone": list(BACKBONES),
            "pin_dir": str(scene.pin_root / "voxpop"),
            "cache_dir": str(programs(scene.directory)),
            **(dataplane or {}),
        }
        self.process: subprocess.Popen[bytes] | None = None
        self.tree = REPOSITORY
        """Whose sources run."""
        write_keys(scene.directory / "keys.toml", {1: MASTERS[1]}, 1)
        self.write_config()

    def write_config(self) -> None:
        def table(settings: dict[str, object]) -> str:
            return "\n".join(f"{key} = {json.dumps(value)}" for key, value in settings.items())

        self.config.write_text(
            f'[token]\nkeys_file = "keys.toml"\n'
            f'[[cluster]]\nid = {CLUSTER}\nipv4 = "{PREFIXES[0]}"\nipv6 = "{PREFIXES[1]}"\n'
            f"ports = [1024, 65535]\n[relay]\n{table(self.relay)}\n[dataplane]\n{table(self.dataplane)}\n"
            + store_table(self.store)
        )

    def command(self, *arguments: str, config: bool = True) -> list[str]:
        extra = ["--config", str(self.config)] if config else []
        net = f"--net=/run/netns/{self.scene.pop}"
        return ["nsenter", net, sys.executable, "-W", "error", "voxpop.py", *arguments, *extra]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """A command to its end, whatever that is."""
        return subprocess.run(
            self.command(*arguments), cwd=self.tree, capture_output=True, text=True, timeout=60, check=False
        )

    def succeed(self, *arguments: str) -> str:
        """What a command prints that must not fail."""
        result = self.run(*arguments)
        assert result.returncode == 0, result.stderr + result.stdout
        return result.stdout

    def start(self) -> Pop:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self.command("relay"), cwd=self.tree, stderr=log)
        eventually(lambda: self.is_ready() or self.has_ended(), "the relay is ready")
        assert not self.has_ended(), self.log.read_text()
        return self

    def has_ended(self) -> bool:
        return self.process is not None and self.process.poll() is not None

    def kill(self) -> None:
        """SIGKILL to the relay; its workers notice."""
        assert self.process is not None
        workers = self.worker_pids()
        self.process.kill()
        self.process.wait(PATIENCE_S)
        eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers), "the workers end")

    def stop(self) -> None:
        if self.process is not None:
            end(self.process)

    def __enter__(self) -> Pop:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def worker_pids(self) -> list[int]:
        assert self.process is not None
        pid = self.process.pid
        return sorted(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))

    def get(self, path: str) -> str:
        url = f"http://127.0.0.1:9464{path}"
        with netns.inside(self.scene.pop), urllib.request.urlopen(url, timeout=PATIENCE_S) as answer:
            read: str = answer.read().decode()
        return read

    def is_ready(self) -> bool:
        try:
            return bool(self.get("/readyz"))
        except OSError:
            return False

    def summary(self) -> dict[str, object]:
        told: dict[str, object] = json.loads(self.get("/healthz"))
        return told

    def samples(self) -> dict[tuple[str, ...], int]:
        """Every sample that is a number."""
        return {
            (sample.name.removeprefix("voxpop_"), *sample.labels.values()): int(sample.value)
            for family in text_string_to_metric_families(self.get("/metrics"))
            for sample in family.samples
            if not math.isnan(sample.value)
        }

    def wait_for_log(self, text: str) -> None:
        eventually(lambda: text in self.log.read_text(), f"the log says {text!r}")


@contextlib.contextmanager
def running(directory: Path, **settings: object) -> Iterator[Pop]:
    """The whole of it: links, fast path, relay."""
    with Scene(directory) as scene, Pop(scene, **settings) as pop:  # type: ignore[arg-type]
        pop.succeed("dataplane", "run")
        pop.start()
        yield pop


class Call:
    """One client and its transceiver, in the IP family of VIP `index`."""

    def __init__(self, pop: Pop, index: int = 0) -> None:
        self.vip = VIPS[index]
        self.client = pop.scene.peer(pop.scene.client, CLIENTS[index])
        self.transceiver = pop.scene.peer(pop.scene.region, TRANSCEIVERS[index])
        self.ufrag = mint_ufrag(self.transceiver.address.port, host=1)
        self.nat: Endpoint | None = None

    def begin(self) -> Call:
        """The first check, up to the first answer; which may have to be sent again while the PoP learns who
        is on its links."""
        check = request(self.ufrag)
        self.client.send(check, self.vip)
        received, self.nat = self.transceiver.receive()
        assert received == check
        eventually(self._is_answered, "the transceiver's answer arrives")
        return self

    def _is_answered(self) -> bool:
        assert self.nat is not None
        self.transceiver.send(b"answer", self.nat)
        try:
            data, source = self.client.receive(0.05)
        except TimeoutError:
            return False
        assert source == self.vip
        return data == b"answer"

    def exchange(self, count: int = 1) -> None:
        """Media both ways; every packet arrives, from the right address."""
        assert self.nat is not None
        for number in range(count):
            up, down = MEDIA + number.to_bytes(4, "big"), MEDIA[::-1] + number.to_bytes(4, "big")
            self.client.send(up, self.vip)
            assert self.transceiver.receive() == (up, self.nat)
            self.transceiver.send(down, self.nat)
            assert self.client.receive() == (down, self.vip)


def verdict(pop: Pop, name: str, family: str = "ipv4") -> int:
    return pop.samples()["fastpath_packets_total", family, name]


def arrives_up(call: Call) -> bool:
    call.client.send(MEDIA, call.vip)
    try:
        return call.transceiver.receive(0.05)[1] == call.nat
    except TimeoutError:
        return False


def as_nobody(pop: Pop, *arguments: str) -> subprocess.CompletedProcess[str]:
    """In the PoP's namespace, as root without capabilities."""
    enter, net, *command = pop.command(*arguments)
    command = [enter, net, "setpriv", "--bounding-set=-all", "--inh-caps=-all", *command]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False)


def carried(pop: Pop, path: str) -> int:
    return pop.samples()["relay_carried_packets_total", "upstream", path]

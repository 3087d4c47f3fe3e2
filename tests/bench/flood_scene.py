"""Floods against a PoP of lab_scene.py, by what has to stand them: a program, or a server that reads."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address
from pathlib import Path
from typing import TypeAlias

import numpy as np

from core.addr import Endpoint
from ebpf import layout, pins
from ebpf.net import netns
from ebpf.net.netns import Wiring
from ebpf.tables import Rates, Tables
from edge.host.fastpath import MEDIA_PPS, TOKEN_BURST, TOKEN_PPS
from edge.lab.plan import Place
from tests.bench.bench_fastpath import VIP
from tests.bench.floods import PER_SOURCE, STRANGERS, Flood
from tests.bench.lab_scene import RECEIVE, VOXPOP, Row, Scene
from tests.processes import cpu_ns, end

PACKETS, WARM_UP = 200_000, 20_000
SETTLE_S = 0.05
STUN_PPS = 5000, 20_000
KERNEL = Row("lab_pass", "lab_pass", VIP, VIP)

Standing: TypeAlias = Callable[[Scene], contextlib.AbstractContextManager[list[int]]]
"""Puts something in a PoP's place; yields the threads that work there besides that of the interface."""


def default_budgets(made: Scene) -> None:
    """As a relay sets them."""
    tables = Tables(pins.pin_dir(made.plan.bpffs))
    for punt_class, (source, total) in (
        (layout.PUNT_CLASS_STUN, STUN_PPS),
        (layout.PUNT_CLASS_MEDIA, MEDIA_PPS),
    ):
        tables.set_rates(punt_class, Rates(source, source, total, total))
    tables.set_token_rate(TOKEN_PPS, TOKEN_BURST)
    tables.close()


@contextlib.contextmanager
def bare(made: Scene) -> Iterator[list[int]]:
    """A program that drops everything, and looks at none of it."""
    with made.row(RECEIVE, "lab_sink"):
        yield []


@contextlib.contextmanager
def voxpop(made: Scene) -> Iterator[list[int]]:
    """Ours, with the flows of a few calls."""
    with made.row(VOXPOP, "lab_sink"):
        yield []


@contextlib.contextmanager
def xdp_filter(made: Scene) -> Iterator[list[int]]:
    """That of xdp-tools, which is told to drop what is for the port of the VIP: calls too."""
    name = made.plan.public.interface
    with made.row(Row(None, "lab_pass", VIP, VIP), "lab_sink"):
        _in_pop(
            made, "xdp-filter", "load", name, "--mode", "native", "--policy", "allow", "--features", "udp"
        )
        try:
            _in_pop(made, "xdp-filter", "port", str(VIP.port), "--proto", "udp", "--mode", "dst")
            yield []
        finally:
            _in_pop(made, "xdp-filter", "unload", name)


@contextlib.contextmanager
def coturn(made: Scene) -> Iterator[list[int]]:
    """A TURN server, which reads each packet and answers what it may be asked without credentials."""
    pop, name = made.plan.namespaces[Place.POP], made.plan.public.interface
    command = [
        "turnserver", "-n", "--listening-ip", VIP.host, "--listening-port", str(VIP.port), "--no-tls",
        "--no-dtls", "--no-cli", "--no-tcp", "--no-stdout-log", "--log-file", "/dev/null",
        "--lt-cred-mech", "--user", "bench:bench", "--realm", "bench", "--pidfile", "",
    ]  # fmt: skip
    with Wiring(pop) as wiring:
        wiring.address(name, f"{VIP.host}/32")
    try:
        with (
            made.row(KERNEL, "lab_sink"),
            netns.inside(pop),
            subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process,
        ):
            try:
                time.sleep(1.0)  # it says nothing when it is ready
                yield [int(task.name) for task in Path(f"/proc/{process.pid}/task").iterdir()]
            finally:
                end(process)
    finally:
        _in_pop(made, "ip", "address", "del", f"{VIP.host}/32", "dev", name)


WAYS: dict[str, tuple[str | None, Standing]] = {
    "bare": (None, bare),
    "voxpop": (None, voxpop),
    "xdp-filter": ("xdp-filter", xdp_filter),
    "coturn": ("turnserver", coturn),
}
"""(the command that it needs, how it is put there)"""


def available() -> dict[str, Standing]:
    """Those that this machine has."""
    return {name: way for name, (command, way) in WAYS.items() if command is None or shutil.which(command)}


def cost_ns(made: Scene, standing: Standing, flood: Flood) -> float:
    """CPU time of the PoP for a packet of a flood that comes in there."""
    aim(made.state, flood, VIP, bytes(made.state["macs"]))
    with standing(made) as threads, netns.inside(made.plan.namespaces[Place.CLIENT]):
        made.send("lab_flood", flood.frame, WARM_UP)
        before = _reading(made, threads)
        made.send("lab_flood", flood.frame, PACKETS)
        packets, spent = (b - a for a, b in zip(before, _reading(made, threads), strict=True))
    if not packets:
        raise RuntimeError(f"{flood.name}: nothing came in")
    return spent / packets


def aim(state: np.void, flood: Flood, vip: Endpoint, macs: bytes) -> None:
    """Tell the generator what to send, and to whom."""
    state["flows"] = PER_SOURCE * flood.sources
    state["first_source"] = int(IPv4Address(STRANGERS))
    state["dst"] = int.from_bytes(IPv4Address(vip.host).packed, "little")
    state["dst_port"] = int.from_bytes(vip.port.to_bytes(2, "big"), "little")
    state["ip_check"] = int.from_bytes(flood.frame[24:26], "little")
    state["udp_check"] = 0  # without one
    state["random_at"] = flood.random_at
    state["random_base"], state["random_mask"] = flood.drawn
    state["macs"] = list(macs)


def _reading(made: Scene, threads: list[int]) -> tuple[int, int]:
    """(packets that came in, CPU time) so far."""
    time.sleep(SETTLE_S)
    with netns.inside(made.plan.namespaces[Place.POP]):
        lines = Path("/proc/thread-self/net/dev").read_text().splitlines()
    prefix = f"{made.plan.public.interface}:"
    (packets,) = (int(line.split()[2]) for line in lines if line.strip().startswith(prefix))
    return packets, cpu_ns(made.pop_thread) + sum(map(cpu_ns, threads))


def _in_pop(made: Scene, *command: str) -> None:
    net = f"--net=/run/netns/{made.plan.namespaces[Place.POP]}"
    done = subprocess.run(["nsenter", net, *command], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stdout}{done.stderr}")

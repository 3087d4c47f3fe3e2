"""Flows that are restored from the store: how many a second one worker can do, and what strangers cost it.

A PoP with native XDP, a relay of one worker on one CPU, Redis and the clients on the other. Each client
sends media, of which the worker knows nothing; it asks the store, believes the record after all its checks,
installs the flow and sends the packet on, to a socket in the region. A bounded number is in flight. Costs are
the worker's own CPU time, whatever else the machine does.
"""

from __future__ import annotations

import asyncio
import os
import socket
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from core.addr import Endpoint
from core.service import interrupt
from ebpf.net import netns
from edge.recall.lookups import Limits
from tests.bench.bench_relay import Load, closed_loop, meter, only_worker, typical
from tests.bench.result import Figure
from tests.bench.udp_batch import Receiver, Sender
from tests.edge.dead_pop import PREFIX, leave_records, media_of
from tests.edge.xdp_scene import TRANSCEIVERS, Pop, Scene
from tests.redis_server import Server
from tests.redis_server import running as redis_running

FLOWS, STRETCHES = 50_000, 10
STRANGERS, ROUNDS = 5_000, 5
STRANGERS_PER_S = 5_000
"""Half of what a worker asks for, a quarter of what may come up: each is asked for."""
CROWDED_PER_S, CROWD = 10_000, 64
"""As when more come up than can be restored: as many at once as a worker reads at once."""
SETTLE_S = 0.3
"""A stranger comes again before it is forgotten, after 2 s."""
NAT_PORTS = (4096, 65535)
REFUSED = "relay_refusals_total", "unknown_flow_media"
NOT_FOUND = "relay_recalls_total", "not_found"


@dataclass
class Rig:
    """A PoP, what is sent to it, and who takes it."""

    scene: Scene
    pop: Pop
    region: socket.socket

    @contextmanager
    def media(self, everybody: Sequence[Endpoint]) -> Iterator[Sender]:
        """A packet of each."""
        opened, sender = media_of(self.scene, everybody)
        with opened:
            yield sender

    def meter(self) -> Callable[[], Load]:
        """Watch the worker."""
        assert self.pop.process is not None
        return meter(only_worker(self.pop.process.pid))


def run() -> list[Figure]:
    """Every figure, in about half a minute; none without root and two CPUs."""
    cpus = sorted(os.sched_getaffinity(0))
    if os.geteuid() != 0 or len(cpus) < 2:
        return []
    with tempfile.TemporaryDirectory(prefix="voxpop-bench-") as folder, _rig(Path(folder), cpus) as made:
        return [*_restored(made), *_strangers(made)]


@contextmanager
def _rig(folder: Path, cpus: Sequence[int]) -> Iterator[Rig]:
    """The worker on one CPU, all else on the other; every client has a record."""
    with (
        interrupt.postponed(),
        redis_running(Server(folder / "redis")) as redis,
        Scene(folder) as scene,
        _region(scene) as region,
    ):
        scene.ip(scene.pop, "route", "add", PREFIX, "via", "203.0.113.2")
        with Pop(
            scene, dataplane={"nat_ports": NAT_PORTS}, store=f"unix://{redis.path}",
            max_flows=FLOWS + 5000, idle_timeout_s=300,
        ) as pop:  # fmt: skip
            pop.succeed("dataplane", "run")
            asyncio.run(leave_records(redis, _clients(0, FLOWS), region.getsockname()[1]))
            try:
                os.sched_setaffinity(0, {cpus[1]})
                pop.start()
                os.sched_setaffinity(0, {cpus[0]})
                assert redis.process is not None
                os.sched_setaffinity(redis.process.pid, {cpus[0]})
                yield Rig(scene, pop, region)
            finally:
                os.sched_setaffinity(0, set(cpus))


@contextmanager
def _region(scene: Scene) -> Iterator[socket.socket]:
    with netns.inside(scene.region):
        opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with opened:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        opened.bind((TRANSCEIVERS[0], 0))
        yield opened


def _clients(first: int, count: int) -> list[Endpoint]:
    return [
        Endpoint(f"198.18.{n >> 8 & 255}.{n & 255}", 5000 + (n >> 16)) for n in range(first, first + count)
    ]


def _restored(made: Rig) -> list[Figure]:
    """As many as come out; the first stretch is to learn who is on the links."""
    length = FLOWS // STRETCHES
    receiver, seconds, loads = Receiver(made.region), [], []
    with made.media(_clients(0, FLOWS)) as sender:
        _meet(sender, receiver)
        for begin in range(length, FLOWS, length):
            interrupt.check()
            load = made.meter()
            try:
                took_s = closed_loop(_from(sender, begin), receiver.receive, length)
            except RuntimeError:
                # The store was not heard in time: so busy a machine says nothing of the worker.
                interrupt.wait((), SETTLE_S)
                while receiver.receive():
                    pass
                continue
            seconds.append(took_s)
            loads.append(load())
    if len(seconds) < STRETCHES // 2:
        raise RuntimeError(f"packets were lost in all but {len(seconds)} of {STRETCHES - 1} parts")
    best = sorted(zip(loads, seconds, strict=True), key=lambda each: each[0].waiting)[: len(loads) // 2]
    cpu_us = [load.running * took_s / length * 1e6 for load, took_s in best]
    return [
        Figure(
            "flows restored per worker", length / statistics.median(took_s for _, took_s in best), "/s",
            note=f"asked for, believed, installed, sent on; the {len(best)} least disturbed of "
            f"{len(loads)} parts; {typical([load for load, _ in best])}",
        ),
        Figure("CPU of the worker for a flow restored", statistics.median(cpu_us), "µs"),
    ]  # fmt: skip


def _meet(sender: Sender, receiver: Receiver) -> None:
    """The first clients, one after the other, until the PoP knows its neighbours."""
    for number in range(FLOWS // STRETCHES // 10):
        sender.send(number, 1)
        deadline = time.monotonic() + 1
        while not receiver.receive() and time.monotonic() < deadline:
            pass


def _from(sender: Sender, begin: int) -> Callable[[int, int], int]:
    return lambda at, burst: sender.send(begin + at, burst)


def _strangers(made: Rig) -> list[Figure]:
    """Clients of whom the store knows nothing: asked for once, then known to be unknown."""
    first, again = [], []
    for number in range(ROUNDS):
        with made.media(_clients(FLOWS + number * STRANGERS, STRANGERS)) as sender:
            first.append(_send(made, sender, STRANGERS_PER_S, 1))
            again.append(_send(made, sender, CROWDED_PER_S, CROWD))
    asked_us = statistics.median(each.cpu_us / each.missing for each in first)
    # of some the first packet was lost, where the machine is busy: they are asked for now
    known_us = (each.cpu_us - each.missing * asked_us for each in again)
    again_us = statistics.median(
        us / (each.refused - each.missing) for us, each in zip(known_us, again, strict=True)
    )
    lost = 2 * ROUNDS * STRANGERS - sum(each.refused for each in (*first, *again))
    return [
        Figure(
            "strangers looked up per worker", 1e6 / asked_us, "/s",
            note=f"not found; by the worker's CPU time, which it limits to {Limits().asks_per_s:,}/s",
        ),
        Figure(
            "CPU of the worker for a stranger's next packet", again_us, "µs",
            note=f"known as not found, {CROWD} at once; {lost} of all packets never came to it",
        ),
    ]  # fmt: skip


class Sent(NamedTuple):
    """What a packet of each stranger came to."""

    cpu_us: float
    """Of the worker."""
    missing: int
    """That were asked for, and not found."""
    refused: int


def _send(made: Rig, sender: Sender, rate: int, burst: int) -> Sent:
    """A packet of each at a steady rate, so many at once."""
    before, started, sent, load = made.pop.samples(), time.perf_counter(), 0, made.meter()
    while sent < STRANGERS:
        due = min(STRANGERS, int((time.perf_counter() - started) * rate // burst + 1) * burst)
        if due > sent:
            sent += sender.send(sent, due - sent)
    interrupt.wait((), SETTLE_S)
    took_s = time.perf_counter() - started
    cpu_us, after = load().running * took_s * 1e6, made.pop.samples()
    return Sent(cpu_us, after[NOT_FOUND] - before[NOT_FOUND], after[REFUSED] - before[REFUSED])

"""Calls through a whole PoP that is flooded: what arrives of theirs, and how soon new ones begin.

The lab and the sockets are those of bench_firstpacket.py: real relay, dataplane and native XDP. Fifty callers
send audio all the while, and every 50 ms a client that was not there before sends a check, again each 50 ms
until it arrives, as browsers do.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from typing import Any

import numpy as np

from core.addr import Endpoint
from core.compare import percentile
from ebpf import loader, pins
from ebpf.kernel.bpfmap import BpfMap
from ebpf.net import netns
from ebpf.net.attach import Netdev
from edge.lab.plan import Place
from tests.bench.bench_firstpacket import CLIENT_PORT, FIRST_CLIENT, Frames, Rig
from tests.bench.flood_scene import aim
from tests.bench.floods import Flood
from tests.bench.lab_scene import BENCH, HARNESS, send_live
from tests.bench.udp_batch import Receiver, Sender
from tests.builders import UdpFrame

CALLS, PTIME_S, NEW_EVERY_S, AGAIN_S = 50, 0.02, 0.05, 0.05
RTP = bytes.fromhex("806f1234000003c0deadbeef") + bytes(148)
CHUNK = 20_000
AGAIN = 5
SETTLE_S = 0.5
NEWCOMERS_PAUSE_S = 0.002
FORWARDED = ("voxpop_fastpath_packets", "ipv4", "forward_upstream")


@dataclass
class Phase:
    """What happened in some seconds."""

    seconds: float
    sent: int = 0
    """Of the calls, by their callers."""
    forwarded: int = 0
    """Of them, by the program."""
    arrived: int = 0
    """Of them, at the transceiver."""
    setups_ms: list[float] = field(default_factory=list)
    missing: int = 0
    """New clients whose check never arrived."""
    shed: dict[str, int] = field(default_factory=dict)
    """By verdict or reason, what was dropped."""

    @property
    def lost(self) -> int:
        """Of the calls, through us: what the program took and the transceiver never saw."""
        return max(0, min(self.sent, self.forwarded) - self.arrived)

    @property
    def p95_ms(self) -> float:
        """Of new clients, from their first check until one of theirs arrives; of those that never do, all."""
        return percentile([*self.setups_ms, *[self.seconds * 1e3] * self.missing], 95)


class Callers:
    """The calls that are there all the while."""

    def __init__(self, made: Rig) -> None:
        self._made = made
        first = next(made.numbers)
        made.numbers = iter(range(first, 1 << 22))
        self._checks = made.prepare(CALLS).sender
        vip = made.running.plan.vips[0]
        audio = [
            bytes(
                UdpFrame(
                    Endpoint(str(IPv4Address(FIRST_CLIENT + first + n)), CLIENT_PORT), vip, RTP, made.macs
                )
            )
            for n in range(CALLS)
        ]
        self._audio = Sender(made.client, audio, None)

    def phase(self, seconds: float) -> Phase:
        """Speak for so long, and let new clients come."""
        count = int(seconds / NEW_EVERY_S)
        for _ in range(AGAIN):  # a flow ends in the time that it takes to prepare
            self._checks.send(0, CALLS)
            time.sleep(AGAIN_S)
        return _Talk(self._made, self._audio, self._made.prepare(count), Phase(seconds)).run()


class _Talk:
    def __init__(self, made: Rig, audio: Sender, new: Frames, phase: Phase) -> None:
        self._made, self._audio, self._new = made, audio, new
        self._receiver = Receiver(made.region)
        self._began_ns: dict[bytes, int] = {}
        self._waiting: dict[int, float] = {}
        """Number of a new client → when it sends again."""
        self._phase = phase

    def run(self) -> Phase:
        """Until its time is over, and what was on its way has arrived."""
        while self._receiver.receive():
            pass
        phase, before = self._phase, self._made.samples()
        started = time.perf_counter()
        ticks = comers = 0
        while (elapsed := time.perf_counter() - started) < phase.seconds:
            if elapsed >= ticks * PTIME_S:
                ticks += 1
                phase.sent += self._audio.send(0, CALLS)
            if comers < len(self._new.ids) and elapsed >= comers * NEW_EVERY_S:
                self._began_ns[self._new.ids[comers]] = time.time_ns()
                self._waiting[comers] = 0.0
                comers += 1
            self._send_checks(elapsed)
            self._hear()
        ends = time.perf_counter() + SETTLE_S
        while time.perf_counter() < ends:
            self._hear()
        phase.missing = len(self._waiting)
        after = self._made.samples()
        phase.forwarded = after[FORWARDED] - before[FORWARDED]
        phase.shed = _grown(before, after)
        return phase

    def _send_checks(self, now_s: float) -> None:
        for number, due_s in self._waiting.items():
            if now_s >= due_s:
                self._new.sender.send(number, 1)
                self._waiting[number] = now_s + AGAIN_S

    def _hear(self) -> None:
        for index in range(self._receiver.receive()):
            head = self._receiver.payload(index, 20)
            if head[0] == RTP[0]:
                self._phase.arrived += 1
            elif (began_ns := self._began_ns.pop(head[8:], None)) is not None:
                self._phase.setups_ms.append((self._receiver.time_ns(index) - began_ns) / 1e6)
                del self._waiting[self._new.ids.index(head[8:])]


def _grown(before: dict[tuple[str, ...], int], after: dict[tuple[str, ...], int]) -> dict[str, int]:
    """What was dropped meanwhile, by everybody's own count."""
    grown: dict[str, int] = {}
    for key, value in after.items():
        more = value - before.get(key, 0)
        name = "kernel" if key[0] == "voxpop_relay_kernel_drops" else key[-1]
        if more and (name == "kernel" or (key[0] == FORWARDED[0] and name.startswith("drop_"))):
            grown[name] = grown.get(name, 0) + more
    return grown


class Generator:
    """Floods from the client's namespace, as fast as live frames are made; a context manager."""

    def __init__(self, made: Rig, cpu: int) -> None:
        self._made = made
        self._cpu = cpu
        self._undo = ExitStack()

    def __enter__(self) -> Generator:
        plan = self._made.running.plan
        directory = pins.pin_dir(plan.bpffs)
        with ExitStack() as undo:
            bench: BpfMap[Any, Any] = BpfMap.create(BENCH, 1)
            undo.callback(bench.close)
            bench.pin(directory / "lab_bench")
            undo.callback((directory / "lab_bench").unlink)
            self._state: np.void = bench.view(writable=True)[0]
            loaded = loader.load(directory, extra=HARNESS.read_text(), names=("lab_flood",))
            undo.callback(loaded.close)
            self._program = loaded.fds["lab_flood"]
            with netns.inside(plan.namespaces[Place.CLIENT]), Netdev() as netdev:
                self._interface = netdev.link(plan.client.interface).number
            self._undo = undo.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._undo.close()

    @contextmanager
    def flooding(self, flood: Flood) -> Iterator[None]:
        """Send it meanwhile."""
        aim(self._state, flood, self._made.running.plan.vips[0], self._made.macs)
        with _beside(lambda stop: self._send(flood, stop)):
            yield

    def _send(self, flood: Flood, stop: threading.Event) -> None:
        os.sched_setaffinity(0, {self._cpu})
        with netns.inside(self._made.running.plan.namespaces[Place.CLIENT]):
            while not stop.is_set():
                send_live(self._program, flood.frame, CHUNK, self._interface)


@contextmanager
def newcomers(frames: Frames, rate: float) -> Iterator[list[int]]:
    """Send first packets at a steady rate meanwhile, each of a client of its own; yields how many so far."""
    sent = [0]

    def send(stop: threading.Event) -> None:
        began = time.perf_counter()
        while sent[0] < len(frames.ids) and not stop.wait(NEWCOMERS_PAUSE_S):
            due = min(int((time.perf_counter() - began) * rate), len(frames.ids))
            while sent[0] < due:
                sent[0] += frames.sender.send(sent[0], due - sent[0])

    with _beside(send):
        yield sent


@contextmanager
def _beside(work: Callable[[threading.Event], None]) -> Iterator[None]:
    """In a thread, until it is told to stop. Raises what that has raised."""
    stop = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        working = pool.submit(work, stop)
        try:
            yield
        finally:
            stop.set()
        working.result()

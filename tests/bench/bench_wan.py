"""The lab's WAN: how exactly it delays, and how much it carries.

Late is a packet by the time between the clock that its sender reads, less the link's delay, and the stamp
that the receiving kernel gives it: all that the process and its wake-ups add, and the two kernel paths. At
a paced rate every packet wakes the process twice. What it carries is told by its own CPU time, for packets
that are sent as fast as they come out, with no more than a window of them under way.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from core.compare import percentile
from edge.lab.wan.delay import Conditions
from tests.bench.result import Figure
from tests.edge.lab.wan.kit import LINK, SO_TIMESTAMPNS, Rig, rig
from tests.processes import cpu_ns

DELAY_MS = 40.0
PACED, INTERVAL_NS = 5_000, 1_000_000
FLOOD, WINDOW = 200_000, 2_000
RTP = bytes(172)
STAMPED = struct.Struct("=Q164x")
TIMESPEC = struct.Struct("=qq")


def run() -> list[Figure]:
    """Both, on one link; how late packets are also while every CPU has other things to do."""
    if os.geteuid() != 0:
        return []
    with tempfile.TemporaryDirectory() as folder, rig(Path(folder), Conditions(DELAY_MS)) as made:
        quiet = _precision(made, "")
        with _busy_cpus():
            busy = _precision(made, ", every CPU busy")
        return [*quiet, *busy, *_capacity(made)]


@contextlib.contextmanager
def _busy_cpus() -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for _ in os.sched_getaffinity(0):
            spinner = stack.enter_context(subprocess.Popen([sys.executable, "-c", "while True: pass"]))
            stack.callback(spinner.kill)
        yield


def _precision(made: Rig, when: str) -> list[Figure]:
    late_us, before_ns = [], cpu_ns(made.child.popen.pid)
    with made.socket(0) as here, made.socket(1) as there:
        there.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        here.connect(there.getsockname())
        next_ns = time.monotonic_ns()
        for _ in range(PACED):
            time.sleep(max(next_ns - time.monotonic_ns(), 0) / 1e9)
            here.send(STAMPED.pack(time.time_ns()))
            next_ns += INTERVAL_NS
        for _ in range(PACED):
            packet, control, _, _ = there.recvmsg(len(RTP), 64)
            s, ns = TIMESPEC.unpack(control[0][2])
            late_us.append((s * 1_000_000_000 + ns - STAMPED.unpack(packet)[0]) / 1e3 - DELAY_MS * 1e3)
    cpu_us = (cpu_ns(made.child.popen.pid) - before_ns) / PACED / 1e3
    note = f"delay {DELAY_MS:g} ms, {1_000_000_000 // INTERVAL_NS} packets/s; max {max(late_us):,.0f} µs"
    return [
        Figure(f"late by{when}, p50", percentile(late_us, 50), "µs", at_most=500, note=note),
        Figure(f"late by{when}, p99", percentile(late_us, 99), "µs", at_most=2_000),
        Figure(f"CPU for a packet alone{when}", cpu_us, "µs", at_most=250, note="wakes the process twice"),
    ]  # fmt: skip


def _capacity(made: Rig) -> list[Figure]:
    made.control.set(LINK, delay_ms=5)
    with made.socket(0) as here, made.socket(1) as there:
        here.connect(there.getsockname())
        began, before_ns = time.perf_counter(), cpu_ns(made.child.popen.pid)
        for number in range(FLOOD + WINDOW):
            if number >= WINDOW:
                there.recv(len(RTP))
            if number < FLOOD:
                here.send(RTP)
        wall_s, spent_ns = time.perf_counter() - began, cpu_ns(made.child.popen.pid) - before_ns
    unread = made.control.state()[LINK]["here"].unread
    note = f"{FLOOD / wall_s:,.0f} packets/s were sent and received, {unread} unread"
    return [
        Figure("CPU for a packet of many", spent_ns / FLOOD / 1e3, "µs", at_most=25, note="in and out"),
        Figure("packets of a CPU-second", FLOOD / spent_ns * 1e9, "/s", at_least=40_000, note=note),
    ]  # fmt: skip

"""Round trip through the PoP at 2,000 packets/s, beside the limit and plain kernel forwarding.

A UDP socket in the client's namespace sends, XDP in the region sends back, the socket hears: what the
socket and its process cost is the same in every row, so compare, and do not take it for the PoP's own.
All of it happens on one CPU, which never sleeps: waking another takes ten times as long as the way there.
Rows are interleaved round by round; figures are medians of the rounds' ratios, as the speed of such a machine
changes between rounds.
"""

from __future__ import annotations

import os
import socket
import time
from statistics import median

from core.compare import percentile
from ebpf.net import netns
from edge.lab.plan import Place
from tests.bench.bench_fastpath import PORT, RTP
from tests.bench.lab_scene import FORWARDING, LIMIT, NFTABLES, VOXPOP, Row, Scene, scene
from tests.bench.result import Figure

ROUNDS = int(os.environ.get("LAB_ROUNDS", "15"))
PACKETS = 2_000
INTERVAL_NS = 500_000
LOST_NS = 50_000_000
ROWS = {"limit": LIMIT, "voxpop": VOXPOP, "forwarding": FORWARDING, "nftables": NFTABLES}


def run() -> list[Figure]:
    """p50 and p99 of the rows; Voxpop's must be below forwarding's."""
    cpus = sorted(os.sched_getaffinity(0))
    if os.geteuid() != 0:
        return []
    times: dict[str, list[list[int]]] = {name: [] for name in ROWS}
    lost = dict.fromkeys(ROWS, 0)
    with scene() as made:
        os.sched_setaffinity(0, {cpus[0]})
        made.work_inline()
        for number in range(ROUNDS):
            for name, row in ROWS.items() if number % 2 else reversed(ROWS.items()):
                heard = round_trips(made, row)
                times[name].append(heard)
                lost[name] += PACKETS - len(heard)
    return [_figure(percent, times, lost) for percent in (50, 99)]


def _figure(percent: int, times: dict[str, list[list[int]]], lost: dict[str, int]) -> Figure:
    found = {name: [percentile(heard, percent) for heard in rounds] for name, rounds in times.items()}
    ratios = [ours / theirs for ours, theirs in zip(found["voxpop"], found["forwarding"], strict=True)]
    beside = ", ".join(f"{name} {median(each) / 1e3:.1f}" for name, each in found.items())
    missed, sent = sum(lost.values()), len(ROWS) * ROUNDS * PACKETS
    return Figure(
        f"round trip at 2,000 pps, p{percent}", median(ratios), "× forwarding", at_most=1,
        note=f"us: {beside}; {missed} of {sent} packets lost",
    )  # fmt: skip


def round_trips(made: Scene, row: Row) -> list[int]:
    """Nanoseconds of each packet that came back."""
    with (
        made.row(row, "lab_echo"),
        netns.inside(made.plan.namespaces[Place.CLIENT]),
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client,
    ):
        client.bind((made.plan.client_hosts[0], PORT))
        client.connect(row.sent_to)
        client.settimeout(1)
        _warm_up(client)
        client.setblocking(False)
        return _measure(client)


def _warm_up(client: socket.socket) -> None:
    """Neighbours and connections are known after this. Raises TimeoutError."""
    for attempts_left in reversed(range(5)):
        client.send(RTP)
        try:
            client.recv(2048)
        except TimeoutError:
            if not attempts_left:
                raise


def _measure(client: socket.socket) -> list[int]:
    heard = []
    due_ns = time.perf_counter_ns()
    for _ in range(PACKETS):
        while time.perf_counter_ns() < due_ns:
            pass
        due_ns = max(due_ns + INTERVAL_NS, time.perf_counter_ns())
        sent_ns = time.perf_counter_ns()
        client.send(RTP)
        while (now_ns := time.perf_counter_ns()) - sent_ns < LOST_NS:
            try:
                client.recv(2048)
            except BlockingIOError:
                continue
            heard.append(now_ns - sent_ns)
            break
    return heard

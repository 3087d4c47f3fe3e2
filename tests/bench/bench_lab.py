"""The PoP's work per packet between veth pairs, beside the limit and what people would use instead.

A generator in the client's namespace sends live frames of random flows (lab_harness.c) through the PoP to
a sink in the region, which checks addresses and header checksum of each. By rows: a bare XDP redirect that
writes MACs only (the limit), the same with one count in the flow's record, Voxpop's program, kernel
forwarding without NAT, nftables DNAT and SNAT. The second says what the cold memory of so many flows costs
in this run: a neighbour on the same caches can make that more than all the rest.

Every interface's NAPI is a kernel thread, so what the PoP spends is that thread's CPU time, whatever
else the machine does. Rows are interleaved round by round; figures are medians of the rounds' ratios.

    per CPU-second   generator and sink on one CPU, the PoP on another, as much sent as can be
    path             all on one CPU: what a packet costs from generator to sink, less what it costs when
                     the PoP drops it on arrival
"""

from __future__ import annotations

import os
from collections.abc import Callable
from statistics import median

from tests.bench.lab_scene import (
    FORWARDING,
    LIMIT,
    LIMIT_RECORD,
    MAX_FLOWS,
    NFTABLES,
    RECEIVE,
    VOXPOP,
    Cost,
    Row,
    Scene,
    scene,
)
from tests.bench.result import Figure

ROUNDS = int(os.environ.get("LAB_ROUNDS", "15"))
FLOWS = (1, 1_000, MAX_FLOWS)
LEAST_OF_LIMIT, LEAST_OF_NFTABLES, MOST_PATH = 0.65, 3.5, 1.7
ROWS = {
    "receive": RECEIVE,
    "limit": LIMIT,
    "limit and a record": LIMIT_RECORD,
    "voxpop": VOXPOP,
    "forwarding": FORWARDING,
    "nftables": NFTABLES,
}


def run() -> list[Figure]:
    """Every number of flows, placed on two CPUs and on one."""
    cpus = sorted(os.sched_getaffinity(0))
    if os.geteuid() != 0 or len(cpus) < 2:
        return []
    with scene() as made:
        return [figure for flows in FLOWS for figure in _compare(made, flows, cpus)]


def _compare(made: Scene, flows: int, cpus: list[int]) -> list[Figure]:
    made.place(cpus[0], cpus[1])
    apart = _rounds(lambda row: made.measure(row, flows))
    made.place(cpus[0], cpus[0])
    together = _rounds(lambda row: made.measure(row, flows))

    def ratio(one: str, other: str) -> float:
        return median(b.pop / a.pop for a, b in zip(apart[one], apart[other], strict=True))

    def path(name: str) -> list[float]:
        return [a.total - b.total for a, b in zip(together[name], together["receive"], strict=True)]

    paths = {name: median(path(name)) for name in ROWS if name != "receive"}
    rates = ", ".join(f"{name} {1e3 / median(c.pop for c in costs):.2f}" for name, costs in apart.items())
    spent = ", ".join(f"{name} {ns:.0f}" for name, ns in paths.items())
    relative = median(own / bare for own, bare in zip(path("voxpop"), path("limit"), strict=True))
    own, bare = (median(cost.pop for cost in apart[name]) for name in ("voxpop", "limit"))
    return [
        Figure(
            f"packets that one CPU of the PoP carries, {flows:,} flows", 1e9 / own, "/s",
            note=f"the limit {1e9 / bare:,.0f}",
        ),
        Figure(
            f"packets per CPU-second of the PoP, {flows:,} flows", ratio("voxpop", "limit"), "× limit",
            at_least=LEAST_OF_LIMIT, note=f"M packets: {rates}",
        ),
        Figure(
            f"the same beside nftables, {flows:,} flows", ratio("voxpop", "nftables"), "× nftables",
            at_least=LEAST_OF_NFTABLES,
        ),
        Figure(
            f"path on one CPU, {flows:,} flows", relative, "× limit", at_most=MOST_PATH, note=f"ns: {spent}"
        ),
    ]  # fmt: skip


def _rounds(measure: Callable[[Row], Cost]) -> dict[str, list[Cost]]:
    """Every row in every round, in reversed order every other one."""
    costs: dict[str, list[Cost]] = {name: [] for name in ROWS}
    for number in range(ROUNDS):
        for name, row in ROWS.items() if number % 2 else reversed(ROWS.items()):
            costs[name].append(measure(row))
    return costs

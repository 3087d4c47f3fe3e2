"""What a flood costs a PoP, beside a bare XDP_DROP, xdp-filter and coturn in the same flood; and its calls.

A generator in the client's namespace sends live frames at its highest rate (lab_harness.c): tokens whose tag
alone is wrong, in another way each time; junk; datagrams that fill a frame; fragments; from a thousand
sources, and from a million.

    dropped   the PoP has the flows of 50 calls and no process. Its interface's NAPI is a kernel thread, so
              what a packet costs is that thread's CPU time, and of coturn its own besides. Ways are
              interleaved round by round; figures are medians of the rounds' ratios. A bare drop looks at no
              packet, and whoever does has to fetch it from the caches of the CPU that wrote it; so it is
              measured on that CPU as well. A network card is between the two.
    calls     a whole PoP with 50 calls, and new ones all the while (hostile_calls.py): before, during, after
"""

from __future__ import annotations

import os
import time
from statistics import median

from tests.bench.bench_fastpath import KEYRING, NOW_MIN, VIP
from tests.bench.bench_firstpacket import rig
from tests.bench.flood_scene import available, cost_ns, default_budgets
from tests.bench.floods import FEW, Flood, floods, overheard
from tests.bench.hostile_calls import CALLS, Callers, Generator, Phase, newcomers
from tests.bench.lab_scene import Scene, scene
from tests.bench.result import Figure

ROUNDS = int(os.environ.get("HOSTILE_ROUNDS", "5"))
PHASE_S = float(os.environ.get("HOSTILE_PHASE_S", "4"))
FORGED, OTHER = 0.5, 0.7
"""Of a bare drop's rate."""
SETUP = 2.0
"""Times a quiet PoP's."""
NEWCOMERS_PPS = 20_000.0


def run() -> list[Figure]:
    """Every flood, dropped on the generator's CPU and on another."""
    cpus = sorted(os.sched_getaffinity(0))
    if os.geteuid() != 0 or len(cpus) < 2:
        return []
    return [*_dropped(cpus), *_calls(cpus)]


def _dropped(cpus: list[int]) -> list[Figure]:
    with scene(CALLS) as made:
        default_budgets(made)
        kinds = (*floods(VIP, KEYRING, NOW_MIN), overheard(VIP, KEYRING, NOW_MIN))
        made.place(cpus[0], cpus[1])
        apart = [_compare(made, flood, "") for flood in kinds]
        made.place(cpus[0], cpus[0])
        return [*apart, *(_compare(made, flood, ", on the generator's CPU") for flood in kinds)]


def _calls(cpus: list[int]) -> list[Figure]:
    figures: list[Figure] = []
    with rig(cpus) as made, Generator(made, cpus[0]) as generator:
        vip, keyring, now_min = made.running.plan.vips[0], made.keyring, int(time.time() // 60)
        callers = Callers(made)
        callers.phase(1.0)  # neighbours are known after this
        before = callers.phase(PHASE_S)
        kinds = [flood for flood in floods(vip, keyring, now_min) if flood.sources > FEW]
        for flood in [*kinds, overheard(vip, keyring, now_min)]:
            with generator.flooding(flood):
                during = callers.phase(PHASE_S)
            figures += _told(flood.name, before, during, callers.phase(PHASE_S))
        frames = made.prepare(int(NEWCOMERS_PPS * (PHASE_S + 2)))
        with newcomers(frames, NEWCOMERS_PPS) as sent:
            during = callers.phase(PHASE_S)
        name = f"{NEWCOMERS_PPS:,.0f} valid first packets/s"
        figures += _told(name, before, during, callers.phase(PHASE_S), note=f"{sent[0]:,} of them; ")
    return figures


def _told(name: str, before: Phase, during: Phase, after: Phase, note: str | None = None) -> list[Figure]:
    """A bar for setting up where new calls do not compete with as many others."""
    spans = (before, during, after)
    arrived = ", ".join(f"{span.arrived:,} of {span.sent:,}" for span in spans)
    shed = ", ".join(f"{reason} {count:,}" for reason, count in during.shed.items()) or "nothing"
    setups = ", ".join(f"{span.p95_ms:.2f} ms ({span.missing} never)" for span in spans)
    return [
        Figure(
            f"{name}: packets of {CALLS} calls lost through us", sum(span.lost for span in spans), "packets",
            at_most=0, note=f"before, during, after: {arrived} arrived; {note or ''}shed meanwhile: {shed}",
        ),
        Figure(
            f"{name}: a new call's first packet, p95", 2 * during.p95_ms / (before.p95_ms + after.p95_ms),
            "× a quiet PoP's", at_most=SETUP if note is None else None, note=setups,
        ),
    ]  # fmt: skip


def _compare(made: Scene, flood: Flood, where: str) -> Figure:
    ways = available()
    costs: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(ROUNDS):
        for name, way in ways.items() if number % 2 else reversed(ways.items()):
            costs[name].append(cost_ns(made, way, flood))

    def of_bare(name: str) -> float:
        return median(bare / own for bare, own in zip(costs["bare"], costs[name], strict=True))

    others = ", ".join(f"{name} {of_bare(name):.2f}" for name in ways if name not in ("bare", "voxpop"))
    spent = ", ".join(f"{name} {median(ns):.0f}" for name, ns in costs.items())
    return Figure(
        f"{flood.name}{where}: dropped", of_bare("voxpop"), "× bare XDP_DROP",
        at_least=None if where else _bar(flood),
        note=f"{others or 'neither xdp-filter nor coturn is installed'}; ns: {spent}",
    )  # fmt: skip


def _bar(flood: Flood) -> float | None:
    """None of valid tokens, which a drop alone would lose too."""
    if not flood.random_at:
        return None
    return FORGED if flood.name.startswith("forged") else OTHER

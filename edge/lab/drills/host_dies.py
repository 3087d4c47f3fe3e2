"""One of the two hosts of a PoP dies without goodbye. Its router learns of it by BFD, and the other host gets
its flows.
"""

from __future__ import annotations

import time
from functools import partial

from core.errors import UnavailableError
from core.service import interrupt
from edge.lab.drills import planets
from edge.lab.drills.drill import BEFORE, CALLS, GAP, PACKETS, Bar, Drill, Figure, Outcome
from edge.lab.drills.heard import Heard, percentile
from edge.lab.drills.stage import Stage
from edge.lab.drills.status import RESTORED
from edge.lab.planet.planet import Pop

CALLERS = 30
SETTLE_S = 4.0
"""All have sent a check since they were set up, and the records of their flows are written."""
AFTER_S, AFTER_WITHOUT_STORE_S = 3.0, 6.0
ROUTE_TIMEOUT_S, POLL_S = 10.0, 0.01
DETECTION = "route moved after"
AFTER_ROUTE, LAST_AFTER_ROUTE = "then silent in the middle", "then silent at most"
MS = 1e6


def _text(store: bool) -> str:
    place = {"redis": "europe"} if store else {}
    return planets.planet(
        planets.city("berlin"),
        planets.pop("frankfurt", hosts=2, **place),
        planets.region("europe", processes=2),
        *([planets.redis("europe", "pop-frankfurt")] if store else []),
    )


def _play(stage: Stage, store: bool) -> Outcome:
    with stage.planet(_text(store)) as planet:
        city, pop = planet.city("berlin"), planet.pop("frankfurt")
        with stage.city_callers(city, city.url("europe"), stage.calls(CALLERS)) as crowd:
            crowd.until_connected()
            stage.wait(stage.pick(SETTLE_S, 2.0))
            victim = max(pop.hosts, key=lambda host: len(host.flows()))
            on_victim = len(victim.flows())
            dead_ns = time.monotonic_ns()
            victim.kill()
            moved_ns = until_route_moves(pop, victim.backbone, dead_ns)
            stage.wait(AFTER_S if store else AFTER_WITHOUT_STORE_S)
            other = next(host for host in pop.hosts if host is not victim)
            carried = len(other.flows())
            heard = crowd.end()
        restored = other.relay.metrics().get(RESTORED, 0.0)
    return _outcome(heard, dead_ns, moved_ns, on_victim, carried, restored if store else None)


def until_route_moves(pop: Pop, gone: tuple[str, ...], since_ns: int) -> int:
    """Wait until the router's kernel sends nothing to a dead host any more, for any VIP; the last moment when
    it still did, monotonic ns. Raises UnavailableError.
    """
    hosts = {str(vip.host) for vip in pop.vips}
    before, moved_ns = {vip: len(pop.next_hops(vip)) for vip in hosts}, since_ns
    deadline = time.monotonic() + ROUTE_TIMEOUT_S
    while True:
        asked_ns = time.monotonic_ns()
        if all(len(pop.next_hops(vip)) < before[vip] for vip in hosts):
            return moved_ns
        if time.monotonic() > deadline:
            raise UnavailableError(f"{pop.name} still sends packets to {', '.join(gone)}")
        moved_ns = asked_ns
        interrupt.wait((), POLL_S)


def _outcome(
    heard: Heard, dead_ns: int, moved_ns: int, on_victim: int, carried: int, restored: float | None
) -> Outcome:
    calls = len(heard.reports)
    faults = list(heard.losses)
    if carried < calls:
        faults.append(f"{carried} of {calls} calls went on at the other host")
    if on_victim == 0:
        faults.append("no call went by the host that died")
    silences_ms = heard.silences_ms(moved_ns)
    figures = {
        GAP: Figure(heard.gap_ms(dead_ns), "ms"),
        PACKETS: Figure(heard.packets_lost),
        CALLS: Figure(len(heard.losses)),
        BEFORE: Figure(heard.gap_before_ms(dead_ns), "ms"),
        "by that host": Figure(on_victim, "calls"),
        DETECTION: Figure(round((moved_ns - dead_ns) / MS), "ms"),
        AFTER_ROUTE: Figure(round(percentile(silences_ms, 50) if silences_ms else 0), "ms"),
        LAST_AFTER_ROUTE: Figure(round(max(silences_ms, default=0)), "ms"),
    }
    if restored is not None:
        figures["flows restored"] = Figure(restored)
        if not restored:  # a client's own check may come before its media
            faults.append(f"none of {on_victim} flows was restored from the store")
    return Outcome(figures, tuple(faults))


DRILL = Drill(
    "host-dies",
    "One host of a two-host PoP dies under 30 calls",
    (Bar(GAP, 1200, "ms"), Bar(AFTER_ROUTE, 100, "ms"), Bar(CALLS, 0)),
    partial(_play, store=True),
    programs=("bird", "redis-server"),
)
WITHOUT_STORE = Drill(
    "host-dies-without-redis",
    "The same without Redis: each client's next check",
    (Bar(CALLS, 0),),
    partial(_play, store=False),
    promise="calls go on, the gap is told",
    programs=("bird",),
)

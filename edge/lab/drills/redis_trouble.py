"""Redis is killed and comes back empty, stands still, or is full, while calls are set up all the time.

Rounds with a healthy Redis and rounds in trouble take turns. Each is compared with the one before it, and the
middle of these ratios counts: what else the machine does comes and goes, and spoils a round, not all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

from edge.lab.drills.drill import CALLS, PACKETS, Bar, Drill, Figure, Outcome
from edge.lab.drills.heard import Heard, percentile
from edge.lab.drills.stage import Stage
from edge.lab.drills.status import health, metrics
from edge.lab.drills.store import Store, running
from edge.lab.lab import Running
from edge.lab.planet.speaker import until

PER_S, SHORT_PER_S = 20.0, 8.0
ROUND_S, SHORT_ROUND_S = 5.0, 2.0
ROUNDS, SHORT_ROUNDS = 5, 1
CALL_S = 0.1
ROOM_S = 60.0
FAILED, RATIO = "calls failed", "set-up p95 by that of a healthy Redis"


@dataclass(frozen=True, slots=True)
class Trouble:
    """What befalls a Redis: before a round, in the middle of it, and after it, when it is well again."""

    reason: str
    """As the relay counts it."""
    begin: Callable[[Store], object]
    middle: Callable[[Store], object] = lambda _: None
    end: Callable[[Store], object] = lambda _: None


@dataclass(slots=True)
class Rounds:
    """What all rounds of a kind came to."""

    heard: list[Heard] = field(default_factory=list)

    @property
    def p95s_ms(self) -> list[float]:
        """Of the set-ups of each round."""
        return [percentile(heard.setups_ms, 95) for heard in self.heard]

    @property
    def failures(self) -> list[str]:
        """Of every call, a line each."""
        return [line for heard in self.heard for line in (*heard.failures, *heard.losses)]


def _play(stage: Stage, trouble: Trouble) -> Outcome:
    healthy, ill = Rounds(), Rounds()
    with running(stage.directory) as store, stage.lab(store={"url": store.url}) as lab:
        _round(stage, lab)  # the first calls of a process are slower than all others
        for _ in range(int(stage.pick(ROUNDS, SHORT_ROUNDS))):
            healthy.heard.append(_round(stage, lab))
            trouble.begin(store)
            ill.heard.append(_round(stage, lab, lambda: trouble.middle(store)))
            trouble.end(store)
            until(lambda: _is_well(lab), "the relay has found its store again")
        noticed = _failures(lab, trouble.reason)
    faults = [*healthy.failures, *ill.failures]
    if not noticed:
        faults.append(f"the relay has counted no {trouble.reason} failure of its store")
    return _outcome(healthy, ill, faults)


def _outcome(healthy: Rounds, ill: Rounds, faults: list[str]) -> Outcome:
    everybody = [*healthy.heard, *ill.heard]
    ratios = [after / before for before, after in zip(healthy.p95s_ms, ill.p95s_ms, strict=True)]
    return Outcome(
        {
            PACKETS: Figure(sum(heard.packets_lost for heard in everybody)),
            CALLS: Figure(sum(len(heard.losses) for heard in everybody)),
            FAILED: Figure(len(healthy.failures) + len(ill.failures)),
            RATIO: Figure(round(percentile(ratios, 50), 2)),
            "healthy": Figure(round(percentile(healthy.p95s_ms, 50), 1), "ms"),
            "in trouble": Figure(round(percentile(ill.p95s_ms, 50), 1), "ms"),
            "calls": Figure(sum(len(heard.reports) for heard in everybody)),
        },
        tuple(faults),
    )


def _round(stage: Stage, lab: Running, middle: Callable[[], object] = lambda: None) -> Heard:
    """A few seconds of new calls, each of which hangs up after one; `middle` when half of them have begun."""
    per_s, seconds = stage.pick(PER_S, SHORT_PER_S), stage.pick(ROUND_S, SHORT_ROUND_S)
    options = ("--rate", str(per_s), "--seconds", str(CALL_S))
    with stage.lab_callers(lab, int(per_s * seconds), *options) as crowd:
        crowd.until_told("connected")
        stage.wait(seconds / 2)
        middle()
        return crowd.finish(ROOM_S)


def _is_well(lab: Running) -> bool:
    store: Mapping[str, object] = health(lab)["store"]
    return store["state"] == "well"


def _failures(lab: Running, reason: str) -> float:
    return metrics(lab).get(f'voxpop_relay_store_failures_total{{reason="{reason}"}}', 0.0)


def _fill(store: Store) -> None:
    """It takes no write any more: `used_memory` of a server that holds nothing is above this."""
    store.command("CONFIG", "SET", "maxmemory-policy", "noeviction")
    store.command("CONFIG", "SET", "maxmemory", "1")


def _empty(store: Store) -> None:
    store.command("CONFIG", "SET", "maxmemory", "0")


PAUSE_MS = int((ROUND_S + 3.0) * 1000)
"""The whole of a round, and what a crowd takes to begin."""
KILLED = Trouble("unreachable", begin=Store.kill, middle=Store.start)
SLOW = Trouble("slow", begin=lambda store: store.pause(PAUSE_MS), end=Store.answers)
FULL = Trouble("full", begin=_fill, end=_empty)
BARS = (Bar(FAILED, 0), Bar(CALLS, 0), Bar(RATIO, 1.2))
PROGRAMS = ("redis-server",)
DRILL_KILLED = Drill(
    "redis-killed",
    "Redis is killed, and comes back empty, while calls are set up at 20/s",
    BARS,
    partial(_play, trouble=KILLED),
    programs=PROGRAMS,
)
DRILL_SLOW = Drill(
    "redis-slow",
    "Redis stands still (CLIENT PAUSE) while calls are set up at 20/s",
    BARS,
    partial(_play, trouble=SLOW),
    programs=PROGRAMS,
)
DRILL_FULL = Drill(
    "redis-full",
    "Redis is full while calls are set up at 20/s",
    BARS,
    partial(_play, trouble=FULL),
    programs=PROGRAMS,
)

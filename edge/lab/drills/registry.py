"""All drills, in the order in which they are told of."""

from __future__ import annotations

from collections.abc import Sequence

from edge.lab.drills import (
    anycast,
    bad_config,
    clock_off,
    dead_pop,
    host_dies,
    keys_rotated,
    nat_rebind,
    pop_cut_off,
    redis_trouble,
    region_vanishes,
    relay_restart,
    rolling_deploy,
    transceiver_drain,
    uplink_cut,
)
from edge.lab.drills.drill import Drill

DRILLS: tuple[Drill, ...] = (
    relay_restart.DRILL,
    host_dies.DRILL,
    host_dies.WITHOUT_STORE,
    pop_cut_off.DRILL,
    anycast.DRILL,
    uplink_cut.DRILL,
    dead_pop.DRILL,
    redis_trouble.DRILL_KILLED,
    redis_trouble.DRILL_SLOW,
    redis_trouble.DRILL_FULL,
    transceiver_drain.DRILL,
    rolling_deploy.DRILL,
    nat_rebind.DRILL,
    keys_rotated.DRILL,
    clock_off.DRILL,
    bad_config.DRILL,
    region_vanishes.DRILL,
)
NAMES = tuple(drill.name for drill in DRILLS)


def named(names: Sequence[str]) -> list[Drill]:
    """These, in the order of the names, each of which is one of `NAMES`."""
    by_name = dict(zip(NAMES, DRILLS, strict=True))
    return [by_name[name] for name in names]


def listing() -> str:
    """Each with its bars, for a terminal."""
    width = max(map(len, NAMES))
    return "\n".join(f"{drill.name:<{width}}  {drill.title}\n{'':{width}}  {drill.bar}" for drill in DRILLS)

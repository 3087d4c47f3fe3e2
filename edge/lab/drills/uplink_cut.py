"""One of the two uplinks of a PoP host is cut under its calls. BFD tells both ends, the other takes over."""

from __future__ import annotations

import time

from edge.lab.drills import planets
from edge.lab.drills.drill import BEFORE, CALLS, GAP, PACKETS, Bar, Drill, Figure, Outcome
from edge.lab.drills.stage import Stage

CALLERS = 30
SETTLE_S, AFTER_S = 4.0, 5.0
TEXT = planets.planet(
    planets.city("berlin"),
    planets.pop("frankfurt", uplinks=2),
    planets.region("europe", processes=2),
)


def _play(stage: Stage) -> Outcome:
    with stage.planet(TEXT) as planet:
        city, host = planet.city("berlin"), planet.host("frankfurt/1")
        with stage.city_callers(city, city.url("europe"), stage.calls(CALLERS)) as crowd:
            crowd.until_connected()
            stage.wait(stage.pick(SETTLE_S, 2.0))
            cut_ns = time.monotonic_ns()
            host.cut(0)
            stage.wait(AFTER_S)
            heard = crowd.end()
    return Outcome(
        {
            GAP: Figure(heard.gap_ms(cut_ns), "ms"),
            PACKETS: Figure(heard.packets_lost),
            CALLS: Figure(len(heard.losses)),
            BEFORE: Figure(heard.gap_before_ms(cut_ns), "ms"),
            "calls with a gap": Figure(len(heard.gaps_ms(cut_ns))),
            "moves": Figure(heard.moves),
        },
        tuple(heard.losses),
    )


DRILL = Drill(
    "uplink-cut",
    "One of the two uplinks of a PoP host is cut under 30 calls",
    (Bar(GAP, 1200, "ms"), Bar(CALLS, 0)),
    _play,
    programs=("bird",),
)

"""A PoP vanishes from the network, with everything in it running: callers go on by the second candidate."""

from __future__ import annotations

import time

from edge.lab.drills import planets
from edge.lab.drills.drill import BEFORE, CALLS, GAP, MIDDLE, PACKETS, Bar, Drill, Figure, Outcome
from edge.lab.drills.stage import Stage
from edge.lab.planet.planet import Planet

CALLERS = 30
AFTER_S = 12.0
TEXT = planets.planet(
    planets.city("berlin"),
    planets.pop("frankfurt"),
    planets.pop("amsterdam"),
    planets.region("europe", processes=2),
)


def _play(stage: Stage) -> Outcome:
    with stage.planet(TEXT) as planet:
        city, near = planet.city("berlin"), planet.pop("frankfurt")
        planets.blackhole(city, near)
        with stage.city_callers(city, city.url("europe"), stage.calls(CALLERS)) as crowd:
            crowd.until_connected()
            vips = {str(vip) for vip in near.vips}
            elsewhere = [e["vip"] for e in crowd.events if e["event"] == "connected" and e["vip"] not in vips]
            stage.wait(stage.pick(4.0, 1.0))
            cut_ns = time.monotonic_ns()
            near.cut_off()
            stage.wait(AFTER_S)
            faults = _still_there(planet)
            heard = crowd.end()
    if elsewhere:
        faults.append(f"{len(elsewhere)} calls did not begin at the nearest PoP, but at {elsewhere[0]}")
    if heard.moves + heard.restarts < len(heard.reports):
        faults.append(f"{heard.moves} moves and {heard.restarts} restarts of {len(heard.reports)} calls")
    return Outcome(
        {
            GAP: Figure(heard.gap_ms(cut_ns), "ms"),
            PACKETS: Figure(heard.packets_lost),
            CALLS: Figure(len(heard.losses)),
            BEFORE: Figure(heard.gap_before_ms(cut_ns), "ms"),
            MIDDLE: Figure(heard.middle_gap_ms(cut_ns), "ms"),
            "ICE restarts": Figure(heard.restarts),
        },
        (*heard.losses, *faults),
    )


def _still_there(planet: Planet) -> list[str]:
    """That the second PoP has all the flows now."""
    flows = len(planet.host("amsterdam/1").flows())
    return [] if flows else ["the second PoP has no flow"]


DRILL = Drill(
    "pop-cut-off",
    "A PoP is cut off while 30 calls run",
    (Bar(GAP, 5000, "ms"), Bar(CALLS, 0)),
    _play,
    programs=("bird",),
)

"""Two PoPs share a VIP, and the route to it shifts from one to the other in the middle of calls."""

from __future__ import annotations

import time
import tomllib

from edge.lab.drills import planets
from edge.lab.drills.drill import BEFORE, CALLS, GAP, MIDDLE, PACKETS, Bar, Drill, Figure, Outcome
from edge.lab.drills.stage import Stage
from edge.lab.drills.status import RESTORED
from edge.lab.planet import config
from edge.lab.planet.planet import City, Planet, Pop
from edge.lab.planet.speaker import until

CALLERS = 30
SETTLE_S, AFTER_S = 4.0, 3.0
TEXT = planets.planet(
    planets.city("berlin"),
    planets.pop("frankfurt", shared=["any"], redis="europe"),
    planets.pop("amsterdam", shared=["any"], redis="europe"),
    planets.region("europe", processes=2),
    planets.redis("europe", "pop-frankfurt"),
)


def _play(stage: Stage) -> Outcome:
    with stage.planet(TEXT) as planet:
        city, near, far = planet.city("berlin"), planet.pop("frankfurt"), planet.pop("amsterdam")
        _offer_shared_only(planet)
        with stage.city_callers(city, city.url("europe"), stage.calls(CALLERS)) as crowd:
            crowd.until_connected()
            stage.wait(stage.pick(SETTLE_S, 2.0))
            flows = len(near.hosts[0].flows())
            shifted_ns = time.monotonic_ns()
            near.withdraw()
            until(lambda: _all_lead_to(city, near, "amsterdam"), "the route leads to the other PoP")
            stage.wait(stage.pick(AFTER_S, 2.0))
            carried = len(far.hosts[0].flows())
            heard = crowd.end()
        restored = far.hosts[0].relay.metrics().get(RESTORED, 0.0)
    calls = len(heard.reports)
    faults = list(heard.losses)
    if flows < calls:
        faults.append(f"{flows} of {calls} calls began at the nearer PoP")
    if carried < calls or not restored:
        faults.append(
            f"{carried} of {calls} calls went on at the other PoP, {restored:.0f} of them by the store"
        )
    return Outcome(
        {
            GAP: Figure(heard.gap_ms(shifted_ns), "ms"),
            PACKETS: Figure(heard.packets_lost),
            CALLS: Figure(len(heard.losses)),
            BEFORE: Figure(heard.gap_before_ms(shifted_ns), "ms"),
            MIDDLE: Figure(heard.middle_gap_ms(shifted_ns), "ms"),
            "flows restored": Figure(restored),
            "moves": Figure(heard.moves),
        },
        tuple(faults),
    )


def _offer_shared_only(planet: Planet) -> None:
    """Answers name the VIP that both PoPs have, and not the one that each has besides."""
    daemon = planet.transceiver("europe/1").transceiver
    document = tomllib.loads(daemon.config_path.read_text())
    for row in document["pop"]:
        row["vips"] = [str(vip) for vip in planet.pop(row["id"]).vips[2:]]
    daemon.config_path.write_text(config.render(document))
    daemon.reload()


def _all_lead_to(city: City, pop: Pop, other: str) -> bool:
    return all(city.way_to(vip.host) == other for vip in pop.vips[2:])


DRILL = Drill(
    "anycast-shift",
    "The route to a VIP of two PoPs shifts to the other in the middle of 30 calls",
    (Bar(MIDDLE, 100, "ms"), Bar(CALLS, 0)),
    _play,
    programs=("bird", "redis-server"),
)

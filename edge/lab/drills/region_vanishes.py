"""A region vanishes from the network. Its callers are told, nobody is sent there, the other one goes on."""

from __future__ import annotations

import time
from functools import partial

from edge.lab.drills import planets
from edge.lab.drills.crowd import Crowd
from edge.lab.drills.drill import CALLS, GAP, PACKETS, Bar, Drill, Figure, Outcome
from edge.lab.drills.heard import Heard
from edge.lab.drills.stage import Stage
from edge.lab.planet.planet import City, Planet
from edge.lab.planet.speaker import until

CALLERS, NEW_CALLS = 10, 3
CONSENT_S = 40.0
"""A caller gives up when nothing was heard for 30 s, and its server is silent."""
TEXT = planets.planet(
    planets.city("berlin"), planets.pop("frankfurt"), planets.region("europe"), planets.region("america")
)
REGION_UP = "voxpop_transceiver_region_up"
WRONG = "wrong answers"


def _play(stage: Stage) -> Outcome:
    faults: list[str] = []
    with stage.planet(TEXT) as planet:
        city = planet.city("berlin")
        europe, america = (planet.transceiver(f"{name}/1").transceiver for name in ("europe", "america"))
        europe.configure(transceiver={"other_regions": [city.url("america")]})
        europe.reload()
        until(partial(_is_up, planet, True), "Europe knows that America is there")
        calls = stage.calls(CALLERS)
        with (
            stage.city_callers(city, city.url("europe"), calls) as staying,
            stage.city_callers(city, city.url("america"), calls) as vanishing,
        ):
            staying.until_connected()
            vanishing.until_connected()
            gone_ns = time.monotonic_ns()
            planet.region("america").cut_off()
            until(partial(_is_up, planet, False), "Europe knows that America is gone")
            faults += _wrong_while_gone(stage, planet, city)
            told = [] if stage.is_short else _until_told(vanishing)
            planet.region("america").rejoin()
            until(partial(_is_up, planet, True), "Europe knows that America is back")
            faults += _wrong_when_back(stage, planet, city)
            heard, other = staying.end(), vanishing.end()
        if america.pid is None:
            faults.append("America's transceiver has ended")
    faults += [line for line in other.losses if stage.is_short] + [
        line for line in told if "30 s" not in line
    ]
    return Outcome(
        {
            GAP: Figure(heard.gap_ms(gone_ns), "ms"),
            PACKETS: Figure(heard.packets_lost),
            CALLS: Figure(len(heard.losses)),
            WRONG: Figure(len(faults)),
            "callers of the region who were told": Figure(len(told)),
        },
        (*heard.losses, *faults),
    )


def _is_up(planet: Planet, wanted: bool) -> bool:
    metrics = planet.transceiver("europe/1").transceiver.metrics()
    states = [value for name, value in metrics.items() if name.startswith(REGION_UP)]
    return bool(states) and all(bool(value) is wanted for value in states)


def _new_calls(stage: Stage, city: City, region: str) -> Heard:
    with stage.city_callers(city, city.url(region), NEW_CALLS, "--seconds", "1") as crowd:
        return crowd.finish(60.0)


def _wrong_while_gone(stage: Stage, planet: Planet, city: City) -> list[str]:
    """Europe takes calls; while it drains it refuses them, and sends nobody to America. Who calls America is
    told that nobody answers.
    """
    faults = _new_calls(stage, city, "europe").failures
    europe = planet.transceiver("europe/1").transceiver
    europe.drain(600)
    refused = _new_calls(stage, city, "europe")
    europe.undrain()
    lost = _new_calls(stage, city, "america")
    america = city.url("america").removeprefix("http://")
    faults += ["a call was let in by a region that drains" for _ in refused.of("connected")]
    faults += [f"sent to a region that is gone: {line}" for line in refused.failures if america in line]
    faults += ["a call was set up in a region that is gone" for _ in lost.of("connected")]
    return faults + [line for line in lost.failures if "signaling: " not in line]


def _until_told(crowd: Crowd) -> list[str]:
    """All give up, and say why."""
    events = crowd.until_told("summary", CONSENT_S)
    return [str(event["error"]) for event in events if event["event"] == "lost"]


def _wrong_when_back(stage: Stage, planet: Planet, city: City) -> list[str]:
    """While Europe drains, America takes its callers."""
    europe = planet.transceiver("europe/1").transceiver
    europe.drain(600)
    heard = _new_calls(stage, city, "europe")
    europe.undrain()
    return [f"not referred to a region that is back: {line}" for line in heard.failures]


DRILL = Drill(
    "region-vanishes",
    "A region vanishes under 20 calls, half of them of another region, and comes back",
    (Bar(WRONG, 0), Bar(CALLS, 0)),
    _play,
    promise="its callers are told, nobody is sent there, the others go on",
    programs=("bird",),
)

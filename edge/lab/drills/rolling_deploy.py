"""The transceiver hosts of a region are restarted one after the other, as a deploy does, under calls."""

from __future__ import annotations

from edge.lab.drills import planets
from edge.lab.drills.drill import CALLS, GAP, PACKETS, Bar, Drill, Figure, Outcome
from edge.lab.drills.heard import Heard
from edge.lab.drills.stage import Stage
from edge.lab.planet.planet import City, Planet
from edge.lab.planet.speaker import until

CALLERS, CALL_S, SHORT_CALL_S = 30, 25.0, 10.0
NEW_CALLS = 4
DRAIN_TIMEOUT_S = 60
"""Longer than any of the calls lasts: whoever is cut was cut by the deploy."""
HOSTS = 2
TEXT = (
    planets.planet(
        planets.city("berlin"), planets.pop("frankfurt"), planets.region("europe", hosts=HOSTS, processes=1)
    )
    + f"drain_timeout_s = {DRAIN_TIMEOUT_S}\n"
)
LANDED = "new calls taken by a host that drains"
FAILED = "new calls refused elsewhere"


def _play(stage: Stage) -> Outcome:
    seconds = str(stage.pick(CALL_S, SHORT_CALL_S))
    with stage.planet(TEXT) as planet:
        city = planet.city("berlin")
        half = stage.calls(CALLERS) // HOSTS
        with (
            stage.city_callers(city, city.url("europe", 1), half, "--seconds", seconds) as first,
            stage.city_callers(city, city.url("europe", 2), half, "--seconds", seconds) as second,
        ):
            first.until_connected()
            second.until_connected()
            rounds = [_replace(stage, planet, city, number) for number in range(1, HOSTS + 1)]
            old = [crowd.finish(float(seconds) + 30.0) for crowd in (first, second)]
    refused = [refused for refused, _, _ in rounds]
    return _outcome(old, refused, [taken for _, *both in rounds for taken in both])


def _replace(stage: Stage, planet: Planet, city: City, number: int) -> tuple[Heard, Heard, Heard]:
    """Drain a host by SIGTERM, and start it again when its last call is over. What new callers heard of it
    meanwhile, of the other host, and of it when it was back.
    """
    daemon, other = planet.transceiver(f"europe/{number}").transceiver, HOSTS + 1 - number
    daemon.terminate()
    until(lambda: not daemon.is_ready(), f"host {number} is not ready any more")
    stage.wait(1.0)  # until its processes know
    refused = _new_calls(stage, city, number)
    elsewhere = _new_calls(stage, city, other)
    daemon.wait(DRAIN_TIMEOUT_S)
    daemon.start()
    return refused, elsewhere, _new_calls(stage, city, number)


def _new_calls(stage: Stage, city: City, number: int) -> Heard:
    options = ("--rate", "4", "--seconds", "1")
    with stage.city_callers(city, city.url("europe", number), NEW_CALLS, *options) as crowd:
        return crowd.finish(60.0)


def _outcome(old: list[Heard], refused: list[Heard], taken: list[Heard]) -> Outcome:
    lost = [line for heard in old for line in heard.losses]
    landed = sum(len(heard.of("connected")) for heard in refused)
    failures = [line for heard in taken for line in (*heard.failures, *heard.losses)]
    odd = [line for heard in refused for line in heard.failures if "signaling: " not in line]
    return Outcome(
        {
            GAP: Figure(max(heard.gap_ms(0) for heard in old), "ms"),
            PACKETS: Figure(sum(heard.packets_lost for heard in old)),
            CALLS: Figure(len(lost)),
            LANDED: Figure(landed),
            FAILED: Figure(len(failures)),
            "of": Figure(sum(len(heard.reports) for heard in taken)),
        },
        (*lost, *failures, *odd),
    )


DRILL = Drill(
    "rolling-deploy",
    "The hosts of a region are replaced one after the other under 30 calls",
    (Bar(CALLS, 0), Bar(LANDED, 0), Bar(FAILED, 0)),
    _play,
    programs=("bird",),
)

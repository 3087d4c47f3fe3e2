"""A transceiver host is drained under load: calls go on to the end of its time, new ones are refused."""

from __future__ import annotations

import time

from edge.lab.drills import planets
from edge.lab.drills.drill import CALLS, GAP, PACKETS, Bar, Drill, Figure, Outcome
from edge.lab.drills.heard import Event, Heard
from edge.lab.drills.stage import Stage

CALLERS, NEW_PER_S = 30, 5.0
GRACE_S, SHORT_GRACE_S = 12.0, 6.0
KNOWN_AFTER_S = 1.0
"""Processes of a host hear of a drain a moment later: who comes before that is welcome."""
TOLD_WITHIN_S = 20.0
TEXT = planets.planet(planets.city("berlin"), planets.pop("frankfurt"), planets.region("europe", processes=2))
REFUSALS = "voxpop_transceiver_http_refusals_total{"
LANDED = "new calls taken"


def _play(stage: Stage) -> Outcome:
    grace_s = stage.pick(GRACE_S, SHORT_GRACE_S)
    with stage.planet(TEXT) as planet:
        city, transceiver = planet.city("berlin"), planet.transceiver("europe/1").transceiver
        url = city.url("europe")
        with stage.city_callers(city, url, stage.calls(CALLERS)) as crowd:
            crowd.until_connected()
            stage.wait(1.0)
            drained_ns = time.monotonic_ns()
            transceiver.drain(grace_s)
            stage.wait(KNOWN_AFTER_S)
            options = ("--rate", str(NEW_PER_S), "--seconds", "1")
            late_calls = int(NEW_PER_S * (grace_s - KNOWN_AFTER_S) / 2)
            with stage.city_callers(city, url, late_calls, *options) as late:
                refused = late.finish(60.0)
            heard = crowd.finish(grace_s + TOLD_WITHIN_S)
        is_done = transceiver.drain_status()["drain"]["is_done"]
        told = transceiver.metrics().items()
        counted = sum(value for name, value in told if name.startswith(REFUSALS) and '"draining"' in name)
    end_ns = drained_ns + int(grace_s * 1e9)
    early = [_told(event, "was cut early") for event in heard.of("lost") if event["at_ns"] < end_ns]
    faults = [*early, *_faults_at_the_end(heard)]
    faults += [_told(event, "was let in") for event in refused.of("connected")]
    if counted < len(refused.reports):
        faults.append(f"{counted:.0f} of {len(refused.reports)} new calls were refused because of the drain")
    if not is_done:
        faults.append("the drain is not done")
    return Outcome(
        {
            GAP: Figure(heard.gap_ms(drained_ns), "ms"),
            PACKETS: Figure(heard.packets_lost),
            CALLS: Figure(len(early)),
            LANDED: Figure(len(refused.of("connected"))),
            "of": Figure(len(refused.reports)),
            "time given": Figure(grace_s, "s"),
        },
        tuple(faults),
    )


def _faults_at_the_end(heard: Heard) -> list[str]:
    """Every call ends with the drain, and is told why."""
    lost = heard.of("lost")
    faults = [_told(e, "was not told why") for e in lost if "server_shutting_down" not in e["error"]]
    if len(lost) < len(heard.reports):
        faults.append(f"{len(heard.reports) - len(lost)} calls outlasted the drain")
    return faults


def _told(event: Event, what: str) -> str:
    return f"call {event['call']} {what}: {event.get('error', '')}"


DRILL = Drill(
    "transceiver-drained",
    "A transceiver host is drained under 30 calls, with 5 new ones a second",
    (Bar(CALLS, 0), Bar(LANDED, 0)),
    _play,
    promise="no call is cut before the time is over",
    programs=("bird",),
)

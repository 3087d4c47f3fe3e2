"""A client's NAT forgets its mappings: all packets come from other ports from one moment to the next."""

from __future__ import annotations

from edge.lab.drills.drill import BEFORE, CALLS, GAP, MIDDLE, PACKETS, Bar, Drill, Figure, Outcome
from edge.lab.drills.stage import Stage

CALLERS = 30
AFTER_S = 6.0
"""Two of a client's pauses between checks."""


def _play(stage: Stage) -> Outcome:
    with stage.lab() as running, stage.lab_callers(running, stage.calls(CALLERS)) as crowd:
        crowd.until_connected()
        stage.wait(1.0)
        rebound_ns = crowd.rebind()
        stage.wait(stage.pick(AFTER_S, 4.0))
        heard = crowd.end()
    return Outcome(
        {
            GAP: Figure(heard.gap_ms(rebound_ns), "ms"),
            PACKETS: Figure(heard.packets_lost),
            CALLS: Figure(len(heard.losses)),
            BEFORE: Figure(heard.gap_before_ms(rebound_ns), "ms"),
            MIDDLE: Figure(heard.middle_gap_ms(rebound_ns), "ms"),
            "ICE restarts": Figure(heard.restarts),
        },
        tuple(heard.losses),
    )


DRILL = Drill(
    "nat-rebinds",
    "The NAT in front of 30 clients forgets them: all come from other ports",
    (Bar(CALLS, 0),),
    _play,
    promise="calls go on, the gap is told",
)

"""A relay process is killed, and started again: the fast path carries the calls meanwhile."""

from __future__ import annotations

import time

from edge.lab.drills.drill import BEFORE, CALLS, GAP, PACKETS, Bar, Drill, Figure, Outcome
from edge.lab.drills.heard import Heard
from edge.lab.drills.stage import Stage

CALLERS = 30
DOWN_S = 10.0
"""Longer than three of a client's pauses between checks: these too go by the program alone."""
AFTER_S = 3.0


def _play(stage: Stage) -> Outcome:
    with stage.lab() as running, stage.lab_callers(running, stage.calls(CALLERS)) as crowd:
        crowd.until_connected()
        stage.wait(1.0)
        killed_ns = time.monotonic_ns()
        running.kill_relay()
        stage.wait(stage.pick(DOWN_S, 3.0))
        down_s = (time.monotonic_ns() - killed_ns) / 1e9
        running.start_relay()
        stage.wait(stage.pick(AFTER_S, 1.0))
        return _outcome(crowd.end(), killed_ns, down_s)


def _outcome(heard: Heard, killed_ns: int, down_s: float) -> Outcome:
    moved = [f"{heard.moves} calls took another candidate"] if heard.moves else []
    return Outcome(
        {
            GAP: Figure(heard.gap_ms(killed_ns), "ms"),
            PACKETS: Figure(heard.packets_lost),
            CALLS: Figure(len(heard.losses)),
            BEFORE: Figure(heard.gap_before_ms(killed_ns), "ms"),
            "of packets": Figure(heard.packets),
            "without a relay for": Figure(round(down_s, 1), "s"),
        },
        (*heard.losses, *moved),
    )


DRILL = Drill(
    "relay-restart",
    "A relay process is killed and started again under XDP",
    (Bar(PACKETS, 0), Bar(CALLS, 0)),
    _play,
)

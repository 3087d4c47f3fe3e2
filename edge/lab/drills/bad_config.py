"""Rows of the configuration that make no sense come to daemons that carry calls, and to those that start."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence

from core.service import launch
from edge.lab.drills.daemons import reload
from edge.lab.drills.drill import CALLS, GAP, PACKETS, Bar, Drill, Figure, Outcome
from edge.lab.drills.stage import Stage
from edge.lab.lab import Running

CALLERS = 10
TIMEOUT_S = 20.0
ROWS = {
    "two PoPs with one id": ('id = "{pop}"\nvips = ["192.0.2.77:3478"]', ".id {pop} is used twice"),
    "a PoP without VIPs": ('id = "empty"\nvips = []', ".vips"),
    "a PoP at latitude 999": (
        'id = "moon"\nvips = ["192.0.2.77:3478"]\nlatitude = 999\nlongitude = 0',
        ".latitude",
    ),
}
"""What is appended as another [[pop]], and what a complaint has to say; `{pop}` is the lab's own."""
_WAYS = (("config", "check"), ("relay", "--config"), ("transceiver", "--config"))
"""Commands that read it anew, before the file's name."""
WRONG = "wrong answers"


def _play(stage: Stage) -> Outcome:
    faults: list[str] = []
    with stage.lab() as running, stage.lab_callers(running, stage.calls(CALLERS)) as crowd:
        crowd.until_connected()
        began_ns = time.monotonic_ns()
        good = running.plan.config_path.read_text()
        for what, (row, words) in ROWS.items():
            pop = running.plan.name
            running.plan.config_path.write_text(f"{good}\n[[pop]]\n{row.format(pop=pop)}\n")
            ways = _WAYS[:1] if stage.is_short else _WAYS
            missing = _complaints_missing(running, words.format(pop=pop), ways)
            faults += [f"{what}: {fault}" for fault in missing]
            with stage.lab_callers(running, 2, "--turns", "1", "--seconds", "2") as new:
                heard = new.finish(TIMEOUT_S)
            faults += [f"{what}: {failure}" for failure in heard.failures]
            vips = {str(vip) for vip in running.plan.vips}
            wrong = [event["vip"] for event in heard.of("connected") if event["vip"] not in vips]
            faults += [f"{what}: a call went to {vip}" for vip in wrong]
        running.plan.config_path.write_text(good)
        for name in ("relay", "transceiver"):
            faults += [f"the good file is refused: {line}" for line in reload(running.daemon(name))]
        old = crowd.end()
    return Outcome(
        {
            GAP: Figure(old.gap_ms(began_ns), "ms"),
            PACKETS: Figure(old.packets_lost),
            CALLS: Figure(len(old.losses)),
            WRONG: Figure(len(faults)),
        },
        (*old.losses, *faults),
    )


def _complaints_missing(running: Running, words: str, ways: Sequence[Sequence[str]]) -> list[str]:
    """Who takes the file as it is now, or refuses it without saying which row, and what is wrong with it."""
    missing = []
    for name in ("relay", "transceiver"):
        told = reload(running.daemon(name))
        if not any(words in line and "pop[1]" in line for line in told):
            missing.append(f"{name} says {told or 'that it adopted it'} at a reload")
    for way in ways:
        done = subprocess.run(
            launch.module("voxpop", *way, str(running.plan.config_path)),
            env=launch.environment(),
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        said = done.stdout + done.stderr
        if done.returncode == 0 or not any(words in line and "pop[1]" in line for line in said.splitlines()):
            missing.append(f"{' '.join(way)} says {said!r}, and ends with {done.returncode}")
    return missing


DRILL = Drill(
    "bad-config",
    "Two PoPs with one id, a PoP without VIPs, latitude 999: as a reload under calls, and at a start",
    (Bar(WRONG, 0), Bar(CALLS, 0)),
    _play,
    promise="clear errors, the old configuration goes on",
)

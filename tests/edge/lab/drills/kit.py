"""Short versions of drills, of few calls and seconds: what must hold does, and figures are not judged."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from core.service.process import Child
from edge.lab.drills.drill import CALLS, Drill, Outcome
from edge.lab.drills.play import outcome_of
from edge.lab.drills.stage import Stage


def play_short(drill: Drill, folder: Path, name: str) -> Outcome:
    """Nothing is as it must not be, every figure is there that a bar asks for, no call is lost."""
    outcome = outcome_of(drill, Stage(name, folder, is_short=True))
    assert not outcome.faults, outcome.faults
    assert {bar.figure for bar in drill.bars} <= outcome.figures.keys()
    if CALLS in outcome.figures:
        assert outcome.figures[CALLS].value == 0
    return outcome


def start_script(name: str, script: str, folder: Path) -> Child:
    """A process that stands for one of Voxpop's; its log is `log` in the folder."""
    (folder / "script.py").write_text(script)
    log = folder / "log"
    with log.open("wb") as output:
        popen = subprocess.Popen(
            [sys.executable, folder / "script.py"], stdout=output, stderr=output, start_new_session=True
        )
    return Child(name, popen, log)

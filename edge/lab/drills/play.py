"""Playing drills, one after the other."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from core.errors import VoxpopError
from core.service import interrupt
from edge.lab import lab
from edge.lab.drills.drill import Drill, Outcome, Verdict, judge
from edge.lab.drills.stage import Stage
from edge.lab.planet import programs

NICENESS = -8
"""Of a drill and all that it starts: what else the machine does is not to be heard in it."""
LAB = "drill"
"""The lab of drills, one after the other; beside it there may be others."""


@contextlib.contextmanager
def first() -> Iterator[None]:
    """What this process starts meanwhile comes before what else the machine does."""
    before = os.getpriority(os.PRIO_PROCESS, 0)
    os.setpriority(os.PRIO_PROCESS, 0, min(before, NICENESS))
    try:
        yield
    finally:
        os.setpriority(os.PRIO_PROCESS, 0, before)


@contextlib.contextmanager
def folder(kept: Path | None) -> Iterator[Path]:
    """Where drills leave what callers told: a directory that stays, or one that goes."""
    if kept is not None:
        kept.mkdir(parents=True, exist_ok=True)
        yield kept
        return
    with tempfile.TemporaryDirectory(prefix="voxpop-drills-") as made:
        yield Path(made)


def play(drill: Drill, directory: Path, tell: Callable[[str], None], name: str = LAB) -> Verdict:
    """Play it and judge it. What could not be played is a miss, with the reason. Raises KeyboardInterrupt
    when a signal comes; nothing is left then either.
    """
    own = directory / drill.name
    own.mkdir(exist_ok=True)
    tell(f"{drill.name}: {drill.title} …")
    began = time.monotonic()
    with first():
        outcome = outcome_of(drill, Stage(name, own, tell=tell))
    verdict = judge(drill, outcome, time.monotonic() - began)
    tell(f"{drill.name}: {'met' if verdict.is_met else 'MISSED'}, after {verdict.took_s:.0f} s")
    return verdict


def outcome_of(drill: Drill, stage: Stage) -> Outcome:
    """What came of it, unjudged."""
    lacking = [program for program in drill.programs if programs.where(program) is None]
    if lacking:
        return Outcome({}, (f"was not played: {', '.join(lacking)} is not installed",))
    with interrupt.postponed():
        if lab.is_there(stage.name):
            return Outcome({}, (f"was not played: there is a lab {stage.name} already",))
        try:
            return drill.play(stage)
        except VoxpopError as error:
            return Outcome({}, (f"was not played to its end: {error}",))

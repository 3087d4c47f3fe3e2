"""The clock of a PoP host is 90 s ahead, then 90 s behind: calls are set up, and both sides say it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from core.errors import UnavailableError
from core.service.launch import PASS_VARIABLE
from core.service.process import Child
from edge.lab.drills.daemons import until_said
from edge.lab.drills.drill import CALLS, GAP, PACKETS, Bar, Drill, Figure, Outcome
from edge.lab.drills.heard import Heard, percentile
from edge.lab.drills.stage import Stage
from edge.lab.lab import Running

OFF_S = 90
CALLERS, PER_S, LAST_S = 20, 10.0, 3.0
FAILED = "calls failed"
LIBRARY = "faketime/libfaketimeMT.so.1"


def _play(stage: Stage) -> Outcome:
    figures: dict[str, Figure] = {}
    faults: list[str] = []
    heard: list[Heard] = []
    with stage.lab() as running:
        for off_s in (0, OFF_S, -OFF_S):
            faults += _set_clock(running, off_s) if off_s else []
            options = ("--rate", str(PER_S), "--seconds", str(LAST_S))
            with stage.lab_callers(running, stage.calls(CALLERS), *options) as crowd:
                heard.append(crowd.finish(60.0))
            p95_ms = percentile(heard[-1].setups_ms, 95)
            figures[f"set-up p95 at {off_s:+d} s"] = Figure(round(p95_ms, 1), "ms")
            faults += _set_clock(running, 0) if off_s else []
    failures = [line for each in heard for line in (*each.failures, *each.losses)]
    own = {
        GAP: Figure(max(each.gap_ms(0) for each in heard), "ms"),
        PACKETS: Figure(sum(each.packets_lost for each in heard)),
        CALLS: Figure(sum(len(each.losses) for each in heard)),
        FAILED: Figure(len(failures)),
    }
    return Outcome(own | figures, (*failures, *faults))


def _set_clock(running: Running, off_s: int) -> list[str]:
    """The relay starts again with a clock that is so far ahead; which line that should be in a log is not."""
    running.kill_relay()
    transceiver = running.daemon("transceiver")
    told_before, log = len(transceiver.text()), running.plan.directory / "log" / "relay.log"
    own_before = len(log.read_text())
    with _clock(off_s):
        relay = running.start_relay()
    name = running.plan.name
    if off_s == 0:
        return _missing(
            transceiver, told_before, f"the clock of PoP {name} agrees with this host's again", ""
        )
    ahead, behind = ("ahead of", "behind") if off_s > 0 else ("behind", "ahead of")
    return [
        *_missing(transceiver, told_before, f"the clock of PoP {name} is", ahead),
        *_missing(relay, own_before, "the clock of transceiver host", behind),
    ]


def _missing(child: Child, since: int, words: str, way: str) -> list[str]:
    """What is wrong with the line that it should write."""
    try:
        line = until_said(child, since, words)[0]
    except UnavailableError as error:
        return [str(error)]
    return [] if way in line else [f"{child.name} has the difference the wrong way round: {line}"]


@contextlib.contextmanager
def _clock(off_s: int) -> Iterator[None]:
    """Processes that are started meanwhile have another time of day; the kernel's clock is everybody's."""
    libraries = [*Path("/usr/lib").glob(LIBRARY), *Path("/usr/lib").glob(f"*/{LIBRARY}")]
    if off_s == 0:
        yield
        return
    if not libraries:
        raise UnavailableError("libfaketime is not there, by which one process has another clock")
    settings = {
        "LD_PRELOAD": str(libraries[0]),
        "FAKETIME": f"{off_s:+d}s",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_DONT_RESET": "1",
    }
    settings[PASS_VARIABLE] = " ".join(settings)
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


DRILL = Drill(
    "clock-off",
    "The clock of a PoP is 90 s ahead, then 90 s behind",
    (Bar(FAILED, 0),),
    _play,
    promise="calls are set up, both sides warn",
    programs=("faketime",),
)

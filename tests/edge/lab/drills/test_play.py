"""What is made of drills that cannot be played, and of those that can."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from core.errors import UnavailableError
from edge.lab.drills.drill import CALLS, Bar, Drill, Figure, Outcome
from edge.lab.drills.play import NICENESS, folder, play
from edge.lab.drills.stage import Stage
from edge.lab.plan import DIRECTORY
from edge.lab.planet import programs

NAME = "no-such-lab"


def drill(play: object, *programs: str) -> Drill:
    return Drill("one", "something dies", (Bar(CALLS, 0),), play, programs=programs)  # type: ignore[arg-type]


def test_what_is_measured_is_judged_and_told(tmp_path: Path) -> None:
    told: list[str] = []
    seen: list[Stage] = []

    def quiet(stage: Stage) -> Outcome:
        seen.append(stage)
        return Outcome({CALLS: Figure(0)})

    verdict = play(drill(quiet), tmp_path, told.append, NAME)
    assert verdict.is_met
    assert (seen[0].name, seen[0].directory, seen[0].is_short) == (NAME, tmp_path / "one", False)
    assert told[0] == "one: something dies …"
    assert told[1].startswith("one: met, after ")


@pytest.mark.netns
def test_a_drill_comes_before_what_else_the_machine_does(tmp_path: Path) -> None:
    before = os.getpriority(os.PRIO_PROCESS, 0)

    def look(_: Stage) -> Outcome:
        told = subprocess.run(["nice"], check=True, capture_output=True, text=True).stdout
        return Outcome({CALLS: Figure(0), "niceness": Figure(int(told))})

    verdict = play(drill(look), tmp_path, lambda _: None, NAME)
    assert verdict.outcome.figures["niceness"].value == min(before, NICENESS)
    assert os.getpriority(os.PRIO_PROCESS, 0) == before


def test_what_fails_on_the_way_is_a_miss_with_its_reason(tmp_path: Path) -> None:
    told: list[str] = []

    def fail(_: Stage) -> Outcome:
        raise UnavailableError("the transceiver was not ready")

    verdict = play(drill(fail), tmp_path, told.append, NAME)
    assert verdict.misses == (
        "calls lost was not measured",
        "was not played to its end: the transceiver was not ready",
    )
    assert "MISSED" in told[1]


def test_a_mistake_of_ours_is_raised(tmp_path: Path) -> None:
    def crash(_: Stage) -> Outcome:
        raise KeyError("ours")

    with pytest.raises(KeyError):
        play(drill(crash), tmp_path, lambda _: None, NAME)


def test_a_program_that_is_missing_is_named(tmp_path: Path) -> None:
    def never(_: Stage) -> Outcome:
        raise AssertionError

    verdict = play(drill(never, "sh", "no-such-program"), tmp_path, lambda _: None, NAME)
    assert "was not played: no-such-program is not installed" in verdict.misses


def test_programs_are_found_where_planets_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "routes").touch(mode=0o755)
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(programs, "_PATH", str(tmp_path))  # as /usr/sbin, which is not in everybody's PATH
    verdict = play(drill(lambda _: Outcome({CALLS: Figure(0)}), "routes"), tmp_path, lambda _: None, NAME)
    assert verdict.is_met


@pytest.mark.netns
def test_a_lab_that_is_there_is_left_alone(tmp_path: Path, name: str) -> None:
    (DIRECTORY / name).mkdir(parents=True)

    def never(_: Stage) -> Outcome:
        raise AssertionError

    verdict = play(drill(never), tmp_path, lambda _: None, name)
    assert f"was not played: there is a lab {name} already" in verdict.misses
    assert (DIRECTORY / name).is_dir()


def test_what_callers_told_stays_where_it_is_asked_to_and_goes_else(tmp_path: Path) -> None:
    with folder(tmp_path / "kept") as kept:
        (kept / "file").touch()
    assert (tmp_path / "kept" / "file").exists()
    with folder(None) as made:
        assert made.is_dir()
    assert not made.exists()

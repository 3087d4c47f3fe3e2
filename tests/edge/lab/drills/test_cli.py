"""`voxpop lab scenario` as people type it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import voxpop
from core.errors import UnavailableError
from edge.lab.drills import cli, registry
from edge.lab.drills.drill import CALLS, Bar, Drill, Figure, Outcome
from edge.lab.drills.stage import Stage


@pytest.fixture
def drills(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two that take no lab: a good one, and one that cannot be played."""

    def good(stage: Stage) -> Outcome:
        (stage.directory / "told").touch()
        return Outcome({CALLS: Figure(0)})

    def bad(_: Stage) -> Outcome:
        raise UnavailableError("no power")

    bars = (Bar(CALLS, 0),)
    two = (Drill("good", "all is well", bars, good), Drill("bad", "nothing is", bars, bad))
    monkeypatch.setattr(registry, "DRILLS", two)
    monkeypatch.setattr(registry, "NAMES", ("good", "bad"))


def run(*words: str) -> int:
    return voxpop.main(["lab", "scenario", *words])


@pytest.mark.usefixtures("drills")
def test_the_list_plays_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--list") == cli.EXIT_MET
    assert "all is well" in capsys.readouterr().out


@pytest.mark.usefixtures("drills")
@pytest.mark.parametrize(
    ("words", "said"),
    [((), "name drills, or --all"), (("--all", "good"), "name drills, or --all"), (("goood",), "no goood; ")],
)
def test_wrong_usage_is_said(words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*words) == cli.EXIT_USAGE
    assert said in capsys.readouterr().err


@pytest.mark.netns
@pytest.mark.usefixtures("drills")
def test_the_status_says_whether_the_bars_were_met(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("good", "--keep", str(tmp_path / "kept")) == cli.EXIT_MET
    assert (tmp_path / "kept" / "good" / "told").exists()
    assert "good  " in capsys.readouterr().out

    assert run("--all", "--json") == cli.EXIT_MISSED
    captured = capsys.readouterr()
    good, bad = json.loads(captured.out)["drills"]
    assert (good["is_met"], bad["is_met"]) == (True, False)
    assert bad["misses"][-1] == "was not played to its end: no power"
    assert "good: met" in captured.err

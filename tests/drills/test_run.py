"""What `make drills` leaves behind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edge.lab.drills.drill import CALLS, Bar, Drill, Figure, Outcome
from edge.lab.drills.stage import Stage
from edge.lab.drills.table import BEGIN, END
from tests.drills import run
from tests.paths import ROOT

pytestmark = pytest.mark.netns


def drill(name: str, lost: int) -> Drill:
    def play(_: Stage) -> Outcome:
        return Outcome({CALLS: Figure(lost)})

    return Drill(name, f"all of {name}", (Bar(CALLS, 0),), play)


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of a folder in which two drills are to be played, a good one and a bad one."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/drills.md").write_text(f"{BEGIN}\nold\n{END}\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run, "DRILLS", (drill("good", 0), drill("bad", 2)))
    return tmp_path / "docs/drills.md"


def test_all_of_them_make_the_table_and_the_figures(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main([]) == 1, "a bar was missed"
    assert "| all of good | no calls lost |" in page.read_text()
    assert "old" not in page.read_text()
    good, bad = json.loads(Path("drills.json").read_text())["drills"]
    assert (good["is_met"], bad["is_met"]) == (True, False)
    assert "bad: calls lost 2, at most 0" in capsys.readouterr().out


def test_some_of_them_leave_the_page_alone(page: Path) -> None:
    assert run.main(["good"]) == 0
    assert "old" in page.read_text()
    assert [each["name"] for each in json.loads(Path("drills.json").read_text())["drills"]] == ["good"]


def test_one_that_there_is_not_is_named(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main(["goood"]) == 2
    assert "There is no drill goood. Drills: good, bad" in capsys.readouterr().err
    assert not Path("drills.json").exists()
    assert page.exists()


def test_the_page_of_this_checkout_has_a_row_for_each_drill() -> None:
    table = (ROOT / "docs/drills.md").read_text().partition(BEGIN)[2].partition(END)[0]
    assert [each.name for each in run.DRILLS if f"| {each.title} |" not in table] == []

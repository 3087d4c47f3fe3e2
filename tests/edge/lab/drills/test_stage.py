"""What a stage gives to a drill, and that a short one gives less."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from core.service import process
from core.service.process import Child
from edge.lab.drills.stage import SHORT_CALLS, Stage


def test_a_short_drill_has_few_calls_and_short_times(tmp_path: Path) -> None:
    usual, short = Stage("x", tmp_path), Stage("x", tmp_path, is_short=True)
    assert (usual.calls(30), usual.pick(10.0, 2.0)) == (30, 10.0)
    assert (short.calls(30), short.pick(10.0, 2.0)) == (SHORT_CALLS, 2.0)
    assert short.calls(2) == 2


def test_crowds_have_files_of_their_own_and_stay_unless_they_are_told_how_long(tmp_path: Path) -> None:
    stage, commands = Stage("x", tmp_path), []

    def spawn(command: Sequence[str], log: Path) -> Child:
        commands.append((list(command), log))
        return process.spawn("callers", ["site"], log)

    with (
        stage.callers(spawn, "http://x", 3),
        stage.callers(spawn, "http://x", 5, "--rate", "2", "--seconds", "4"),
    ):
        pass
    (first, one), (second, other) = commands
    assert first == ["voxpop", "call", "http://x", "--calls", "3", "--json", "--seconds", "600"]
    assert second[-4:] == ["--rate", "2", "--seconds", "4"]
    assert second.count("--seconds") == 1
    assert one != other

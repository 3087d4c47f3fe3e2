"""All drills."""

from __future__ import annotations

import re
from functools import partial

import pytest

from edge.lab.drills import registry
from edge.lab.drills.drill import Drill
from tests.paths import ROOT


def test_names_are_words_for_a_command_line_and_no_two_are_one() -> None:
    assert len(set(registry.NAMES)) == len(registry.DRILLS)
    assert [name for name in registry.NAMES if not re.fullmatch(r"[a-z]+(-[a-z]+)*", name)] == []


@pytest.mark.parametrize("drill", registry.DRILLS, ids=lambda drill: drill.name)
def test_each_has_a_bar_a_place_on_the_page_and_a_short_version_among_the_tests(drill: Drill) -> None:
    assert drill.bars
    assert f"`{drill.name}`" in (ROOT / "docs" / "drills.md").read_text()
    tests = (ROOT / "tests" / "edge" / "lab" / "drills").glob("test_*.py")
    play = drill.play.func if isinstance(drill.play, partial) else drill.play
    module = play.__module__.rpartition(".")[2]
    assert any(f"{module}." in test.read_text() and "play_short" in test.read_text() for test in tests)


def test_drills_are_found_by_name_in_the_order_of_the_names() -> None:
    last, first = registry.NAMES[-1], registry.NAMES[0]
    assert [drill.name for drill in registry.named([last, first])] == [last, first]


def test_the_list_has_each_with_its_bar() -> None:
    listing = registry.listing()
    for drill in registry.DRILLS:
        assert drill.title in listing
        assert drill.bar in listing

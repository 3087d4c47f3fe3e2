"""Drills with a browser."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edge.lab.drills.drill import Drill
from tests.browser import drill_pop_cut_off
from tests.edge.lab.drills.kit import play_short

pytestmark = [pytest.mark.browser, pytest.mark.netns, pytest.mark.slow]


@pytest.mark.parametrize("drill", drill_pop_cut_off.DRILLS, ids=lambda drill: drill.name)
def test_a_call_of_a_browser_goes_on_when_its_pop_is_cut_off(drill: Drill, tmp_path: Path) -> None:
    play_short(drill, tmp_path, f"b{os.getpid()}")

"""Drills with a browser."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.browser import drill_pop_cut_off
from tests.edge.lab.drills.kit import play_short

pytestmark = [pytest.mark.browser, pytest.mark.netns, pytest.mark.slow]


def test_a_call_of_chromium_goes_on_when_its_pop_is_cut_off(tmp_path: Path) -> None:
    play_short(drill_pop_cut_off.DRILL, tmp_path, f"b{os.getpid()}")

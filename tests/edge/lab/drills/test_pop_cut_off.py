"""A PoP that vanishes."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.lab.drills import pop_cut_off
from tests.edge.lab.drills.kit import play_short

pytestmark = [pytest.mark.netns, pytest.mark.slow]


def test_it_can_be_played(tmp_path: Path, name: str) -> None:
    play_short(pop_cut_off.DRILL, tmp_path, name)

"""Rotations of keys under calls."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.lab.drills import keys_rotated
from tests.edge.lab.drills.kit import play_short

pytestmark = [pytest.mark.netns, pytest.mark.slow]


def test_it_can_be_played(tmp_path: Path, name: str) -> None:
    play_short(keys_rotated.DRILL, tmp_path, name)

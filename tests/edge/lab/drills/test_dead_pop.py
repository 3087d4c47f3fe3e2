"""Clients of a dead PoP who come to another all at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.lab.drills import dead_pop
from tests.edge.lab.drills.kit import play_short

pytestmark = [pytest.mark.netns, pytest.mark.slow]


def test_it_can_be_played(tmp_path: Path, name: str) -> None:
    play_short(dead_pop.DRILL, tmp_path, name)

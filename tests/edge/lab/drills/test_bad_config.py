"""Rows of a configuration that make no sense."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.lab.drills import bad_config
from tests.edge.lab.drills.kit import play_short

pytestmark = [pytest.mark.netns, pytest.mark.slow]


def test_it_can_be_played(tmp_path: Path, name: str) -> None:
    play_short(bad_config.DRILL, tmp_path, name)

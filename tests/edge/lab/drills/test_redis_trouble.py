"""A store in trouble."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.lab.drills import redis_trouble
from edge.lab.drills.drill import Drill
from tests.edge.lab.drills.kit import play_short

pytestmark = [pytest.mark.netns, pytest.mark.slow]


@pytest.mark.parametrize(
    "drill",
    [redis_trouble.DRILL_KILLED, redis_trouble.DRILL_SLOW, redis_trouble.DRILL_FULL],
    ids=lambda drill: drill.name,
)
def test_it_can_be_played(tmp_path: Path, name: str, drill: Drill) -> None:
    play_short(drill, tmp_path, name)

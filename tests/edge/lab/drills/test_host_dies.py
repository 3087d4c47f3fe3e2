"""A host of a PoP that dies, with a store and without one."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.lab.drills import host_dies
from edge.lab.drills.drill import Drill
from tests.edge.lab.drills.kit import play_short

pytestmark = [pytest.mark.netns, pytest.mark.slow]


@pytest.mark.parametrize("drill", [host_dies.DRILL, host_dies.WITHOUT_STORE], ids=lambda drill: drill.name)
def test_it_can_be_played(tmp_path: Path, name: str, drill: Drill) -> None:
    play_short(drill, tmp_path, name)

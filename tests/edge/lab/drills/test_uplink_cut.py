"""An uplink that is cut."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.lab.drills import uplink_cut
from tests.edge.lab.drills.kit import play_short

pytestmark = [pytest.mark.netns, pytest.mark.slow]


def test_it_can_be_played(tmp_path: Path, name: str) -> None:
    play_short(uplink_cut.DRILL, tmp_path, name)

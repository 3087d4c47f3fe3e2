"""What a relay says is read, and that nobody answers is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.errors import UnavailableError
from edge.lab.drills.stage import Stage
from edge.lab.drills.status import health, metrics

pytestmark = [pytest.mark.netns, pytest.mark.slow]


def test_a_relay_says_how_it_is_until_it_is_killed(tmp_path: Path, name: str) -> None:
    with Stage(name, tmp_path).lab(forwarder="userspace") as running:
        assert health(running)["state"] == "ready"
        assert metrics(running)['voxpop_daemon_state{state="ready"}'] == 1
        running.kill_relay()
        with pytest.raises(UnavailableError, match="the relay does not answer"):
            health(running)

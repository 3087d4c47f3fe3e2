"""Processes of a lab, and their end."""

from __future__ import annotations

import signal

import pytest

from tests.edge.lab.kit import PATIENCE_S, start, voxpop

pytestmark = pytest.mark.netns


def test_a_process_that_ignores_signals_goes_with_its_lab(name: str) -> None:
    assert voxpop("up", "--name", name).returncode == 0
    script = "trap '' INT TERM; echo; sleep 300"
    with start("exec", "--name", name, "client", "--", "sh", "-c", script) as stubborn:
        assert stubborn.stdout is not None
        assert stubborn.stdout.readline() == "\n"
        assert "processes" in voxpop("down", "--name", name).stdout
        stubborn.communicate(timeout=PATIENCE_S)
    assert stubborn.returncode == -signal.SIGKILL

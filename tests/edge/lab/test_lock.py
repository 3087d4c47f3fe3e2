"""What making a lab takes."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import threading

import pytest

from edge.lab.lock import lock
from edge.lab.plan import DIRECTORY
from tests.edge.lab.kit import NOBODY

RIGHTS = "from edge.lab.lock import need_rights; need_rights()"


@pytest.mark.netns
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: the directory of labs is root's")
def test_one_has_the_lock_and_another_waits_for_it() -> None:
    order = []

    def second() -> None:
        with lock():
            order.append("second")

    with lock():
        waiting = threading.Thread(target=second)
        waiting.start()
        waiting.join(0.2)
        assert waiting.is_alive()
        order.append("first")
    waiting.join()
    assert order == ["first", "second"]
    with (DIRECTORY / ".lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: takes the rights of nobody")
def test_without_rights_it_says_which_are_missing_and_what_can_be_done() -> None:
    command = [sys.executable, "-c", RIGHTS]
    assert subprocess.run(command, check=False).returncode == 0
    refused = subprocess.run(command, capture_output=True, text=True, user=NOBODY, group=NOBODY)
    assert refused.returncode != 0
    assert "CAP_NET_ADMIN, CAP_SYS_ADMIN missing. Without it, `voxpop demo --no-lab`" in refused.stderr

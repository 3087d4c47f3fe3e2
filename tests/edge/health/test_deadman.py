"""A real process that stands still."""

from __future__ import annotations

import signal
import subprocess
import sys

from tests.processes import PATIENCE_S

STANDS_STILL = """
import time
from edge.health.deadman import Deadman
deadman = Deadman(0.2)
deadman.hold()
while True:
    pass
"""
GOES_ON = """
import time
from edge.health.deadman import Deadman
deadman = Deadman(0.5)
end = time.monotonic() + 1
while time.monotonic() < end:
    deadman.hold()
deadman.release()
time.sleep(0.6)
print("alive")
"""


def run(source: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=PATIENCE_S)


def test_who_stands_still_is_ended() -> None:
    assert run(STANDS_STILL).returncode == -signal.SIGALRM


def test_who_goes_on_is_not_nor_who_has_let_go() -> None:
    assert run(GOES_ON).stdout == "alive\n"

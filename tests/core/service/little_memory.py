"""How little memory something takes to begin, for tests of what happens when it lacks later."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

MIB = 1 << 20
STEP, SLACK = 4 * MIB, 2 * MIB
BEGIN_S = 10.0
"""Python itself may fail, or hang, with too little."""


def least_memory(begin: Callable[[int, float], subprocess.CompletedProcess[str]]) -> int:
    """Bytes. `begin` runs it with so many and for so many seconds at most, which raises TimeoutExpired."""
    for memory in range(128 * MIB, 0, -STEP):
        if not _begins(begin, memory):
            return memory + STEP + SLACK
    raise AssertionError("no limit is one")


def _begins(begin: Callable[[int, float], subprocess.CompletedProcess[str]], memory: int) -> bool:
    try:
        return begin(memory, BEGIN_S).returncode == 0
    except subprocess.TimeoutExpired:
        return False

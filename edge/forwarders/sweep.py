"""How idle flows are looked for: a part of the table at a time, so that packets never wait long for it."""

from __future__ import annotations

import math

TICK_S = 0.05
"""From one part to the next."""
EXPELLING_NS = -3_600_000_000_000
"""The idle timeout by which every flow ends: nobody was heard as late as that."""
ROUNDS_PER_TIMEOUT = 8
"""A flow is looked at this often in an idle timeout, so it ends at most an eighth late."""


def part_of(places: int, idle_timeout_ns: int) -> int:
    """How many of a table's places to look at in one tick, so that each gets its turn in time."""
    ticks = max(idle_timeout_ns * 1e-9 / ROUNDS_PER_TIMEOUT / TICK_S, 1.0)
    return math.ceil(places / ticks)

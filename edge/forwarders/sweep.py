"""How idle flows are looked for: a part of the table at a time, so that packets never wait long for it."""

from __future__ import annotations

import math
from typing import NamedTuple

from edge.forwarders.life import EXPELLING_NS

TICK_S = 0.05
"""From one part to the next."""
ROUNDS_PER_TIMEOUT = 8
"""A flow is looked at this often in the time that it may be silent, so it ends at most an eighth late."""
REMOVALS_PER_SWEEP = 32
"""Then packets have their turn: to end a flow costs as much as some of them."""


class Patience(NamedTuple):
    """For how long a flow is waited for."""

    client_ns: int
    transceiver_ns: int

    @property
    def shorter_ns(self) -> int:
        """Until one of them matters."""
        return min(self.client_ns, self.transceiver_ns)


EXPELLING = Patience(EXPELLING_NS, EXPELLING_NS)


def part_of(places: int, timeout_ns: int) -> int:
    """How many of a table's places to look at in one tick, so that each gets its turn in time."""
    ticks = max(timeout_ns * 1e-9 / ROUNDS_PER_TIMEOUT / TICK_S, 1.0)
    return math.ceil(places / ticks)

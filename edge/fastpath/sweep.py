"""Which flows have ended, looked for a part of the slots at a time."""

from __future__ import annotations

from typing import NamedTuple

from edge.fastpath.nat_slots import Slots
from edge.forwarders.sweep import REMOVALS_PER_SWEEP, ROUNDS_PER_TIMEOUT, Patience, part_of

AT_LEAST = 1024
SLOTS_AT_ONCE = 2048
"""Enough to pay for the call, few enough to be looked at again where a sweep had to stop among them."""
REMOVALS_AT_ONCE, REMOVALS_WHEN_LATE = REMOVALS_PER_SWEEP, 128
"""First packets wait meanwhile, so it is as few as will do: more only once a round of the table takes twice
the time that it has.
"""


class Swept(NamedTuple):
    """What a part of the slots came to."""

    ended: list[int]
    """Positions among the worker's slots."""
    is_cut_short: bool
    """So many that the rest of the part was left for later."""


class Sweep:
    """Goes round the slots of one family."""

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        self._next = 0
        self._round_began_ns = 0

    def part(self, now_ns: int, patience: Patience) -> Swept:
        """Look at the next slots: the flows that are waited for no longer, or that someone switched off."""
        if self._next == 0:
            self._round_began_ns = now_ns
        late_ns = now_ns - self._round_began_ns - 2 * patience.shorter_ns // ROUNDS_PER_TIMEOUT
        room = REMOVALS_AT_ONCE if late_ns < 0 else REMOVALS_WHEN_LATE
        size = len(self._slots.numbers)
        end = min(self._next + max(part_of(size, patience.shorter_ns), AT_LEAST), size)
        begin, found = self._next, list[int]()
        while begin < end and len(found) < room:
            stop = min(begin + SLOTS_AT_ONCE, end)
            found += self._slots.ended(begin, stop, now_ns, patience)[: room - len(found)].tolist()
            begin = stop if len(found) < room else found[-1] + 1
        self._next = 0 if begin >= size else begin
        return Swept(found, is_cut_short=len(found) == room)

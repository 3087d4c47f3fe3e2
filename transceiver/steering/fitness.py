"""How fit PoPs are for new calls, by what they report; with hysteresis, so that clients are not sent to and
fro by a PoP on the edge of something.

What a report says at once counts against a PoP, and what speaks for it again has to last or to be clear.
Whether a PoP takes calls at all is not decided here.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import IntEnum

BUSY_FROM, BUSY_UNTIL = 0.80, 0.70
"""Load at which a PoP becomes busy, and below which it no longer is."""
FULL_FROM, FULL_UNTIL = 0.95, 0.85
RETURN_NS = 10_000_000_000
"""How long a PoP that is back has to stay: five reports."""


class Fitness(IntEnum):
    """The lower the better."""

    FIT = 0
    BUSY = 1
    """Has room, and less than others: named where the others are far."""
    RETURNED = 2
    """Was out a moment ago, and may be again."""
    FULL = 3
    """About to turn new flows away."""


@dataclass(slots=True)
class _Known:
    is_up: bool = False
    has_been_up: bool = False
    back_since_ns: int | None = None
    """None for one that has never been up, out, and up again: the first start is no return."""
    level: Fitness = Fitness.FIT
    """By load alone."""


class FitnessTable:
    """One entry for each PoP that was ever told of and is still configured."""

    def __init__(self) -> None:
        self._known: dict[str, _Known] = {}

    def keep(self, pops: Collection[str]) -> None:
        """Forget all others."""
        self._known = {pop: known for pop, known in self._known.items() if pop in pops}

    def report(self, pop: str, *, is_up: bool, load: float | None, now_ns: int) -> None:
        """What is known of a PoP now. `load` is the share of its room that is taken, None for unknown."""
        known = self._known.setdefault(pop, _Known())
        if is_up and not known.is_up and known.has_been_up:
            known.back_since_ns = now_ns
        known.is_up = is_up
        known.has_been_up |= is_up
        known.level = _level(known.level, load)

    def lose(self, pop: str) -> None:
        """Nothing is known of a PoP any more, or yet: that is no return and no load."""
        known = self._known.get(pop)
        if known is not None:
            known.level = Fitness.FIT

    def of(self, pop: str, now_ns: int) -> Fitness:
        """The worst of what is known; FIT for one that nothing is known of."""
        known = self._known.get(pop)
        if known is None:
            return Fitness.FIT
        is_new = known.back_since_ns is not None and now_ns - known.back_since_ns < RETURN_NS
        return max(known.level, Fitness.RETURNED if is_new else Fitness.FIT)


def _level(before: Fitness, load: float | None) -> Fitness:
    """An unknown load says nothing for or against: a relay of an older version does not tell."""
    if load is None:
        return Fitness.FIT
    if load >= (FULL_UNTIL if before is Fitness.FULL else FULL_FROM):
        return Fitness.FULL
    return Fitness.BUSY if load >= (BUSY_UNTIL if before >= Fitness.BUSY else BUSY_FROM) else Fitness.FIT

"""Whether one condition is slower than another, from times that were measured in turns.

A machine's pace drifts, and the tail of few values is mostly chance: two p95 that were measured one after the
other may differ by half where nothing does. So both conditions are measured in short rounds, one after the
other within each, and the ratio of their percentiles over all rounds comes with the range that it has when
rounds are drawn anew from those that there were (Efron's bootstrap, by blocks): within a round the machine
was the same for both.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

DRAWS = 2000
CONFIDENCE = 0.9


@dataclass(frozen=True, slots=True)
class Round:
    """Times of one round, in any unit."""

    usual: Sequence[float]
    """Under the condition that the other is compared with."""
    other: Sequence[float]


@dataclass(frozen=True, slots=True)
class Ratio:
    """Of a percentile under the other condition to that under the usual one."""

    value: float
    low: float
    high: float
    """Where it lies with a confidence of `CONFIDENCE`."""

    def is_above(self, limit: float) -> bool:
        """Whether it is more for sure; what the rounds cannot tell from the limit is not."""
        return self.low > limit

    def __str__(self) -> str:
        return f"{self.value:.2f} ({self.low:.2f}–{self.high:.2f})"


def percentile(values: Sequence[float], percent: float) -> float:
    """The nearest-rank percentile: the smallest value that `percent` % of all values do not exceed. Raises
    ValueError for no values.
    """
    if not values:
        raise ValueError("no values to take a percentile of")
    ordered = sorted(values)
    rank = -(-len(ordered) * percent // 100)
    return ordered[max(int(rank), 1) - 1]


def compare(rounds: Sequence[Round], percent: float, draws: int = DRAWS) -> Ratio:
    """The ratio of a percentile over all rounds; the same for the same rounds. Raises ValueError where a
    condition has no values.
    """
    chance = random.Random(0)  # noqa: S311 - no secret
    found = sorted(_ratio(chance.choices(rounds, k=len(rounds)), percent) for _ in range(draws))
    tail = int(draws * (1 - CONFIDENCE) / 2)
    return Ratio(_ratio(rounds, percent), found[tail], found[-1 - tail])


def _ratio(rounds: Sequence[Round], percent: float) -> float:
    usual = percentile([time for each in rounds for time in each.usual], percent)
    return percentile([time for each in rounds for time in each.other], percent) / usual

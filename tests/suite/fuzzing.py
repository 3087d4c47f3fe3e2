"""How much is tried: a little with all the other tests, much more by `make fuzz`.

A test that is marked `fuzz` is run again and again by it, each time with another VOXPOP_FUZZ_ROUND.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

TIMES_MORE = 20
ROUND = int(os.environ.get("VOXPOP_FUZZ_ROUND", "0"))
"""0: with all the other tests."""


def examples(seeds: Sequence[int]) -> Sequence[int]:
    """As many seeds as are tried at a time: the same ones with all the other tests, others in each round."""
    if not ROUND:
        return seeds
    many = len(seeds) * TIMES_MORE
    return range(ROUND * many, (ROUND + 1) * many)


def times(count: int) -> int:
    """How many of hypothesis's examples, where so many do with all the other tests."""
    return count * TIMES_MORE if ROUND else count

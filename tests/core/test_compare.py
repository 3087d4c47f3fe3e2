"""core.compare: what it says of conditions whose ratio is known."""

from __future__ import annotations

import random

import pytest

from core.compare import Ratio, Round, compare, percentile

ROUNDS, CALLS = 12, 40


def rounds(seed: int, factor: float) -> list[Round]:
    """Of a machine that drifts by half, and now and then holds a call up."""
    chance = random.Random(seed)

    def times(pace: float, factor: float) -> list[float]:
        return [
            pace * factor * (10 + chance.expovariate(0.5) + 30 * (chance.random() < 0.02))
            for _ in range(CALLS)
        ]

    paces = [1 + chance.random() / 2 for _ in range(ROUNDS)]
    return [Round(times(pace, 1), times(pace, factor)) for pace in paces]


@pytest.mark.parametrize("factor", [0.8, 1.0, 1.2, 2.0])
def test_the_range_has_the_true_ratio_in_it_about_as_often_as_it_says(factor: float) -> None:
    found = [compare(rounds(seed, factor), 95, draws=200) for seed in range(30)]
    held = sum(each.low <= factor <= each.high for each in found)
    assert held >= 21, "nine in ten, of 30"


def test_what_is_the_same_is_not_above_and_what_is_twice_as_slow_is() -> None:
    same = [compare(rounds(seed, 1.0), 95, draws=200) for seed in range(8)]
    slow = [compare(rounds(seed, 2.0), 95, draws=200) for seed in range(8)]
    assert not any(each.is_above(1.2) for each in same)
    assert all(each.is_above(1.2) for each in slow)


def test_the_same_rounds_say_the_same() -> None:
    assert compare(rounds(1, 1.0), 50) == compare(rounds(1, 1.0), 50)


def test_percentiles_are_of_all_rounds_and_by_nearest_rank() -> None:
    assert percentile([5, 1, 4, 2, 3], 50) == 3
    assert percentile(list(range(1, 101)), 95) == 95
    assert percentile([7], 1) == 7
    found = compare([Round([1, 1], [2, 2]), Round([1, 1], [2, 2])], 95)
    assert found == Ratio(2, 2, 2)
    assert str(found) == "2.00 (2.00–2.00)"
    with pytest.raises(ValueError, match="no values"):
        compare([Round([], [1])], 95)

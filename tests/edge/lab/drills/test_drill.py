"""Bars, and what is held against them."""

from __future__ import annotations

import math

import pytest

from edge.lab.drills.drill import CALLS, GAP, Bar, Drill, Figure, Outcome, judge

DRILL = Drill("one", "one of two", (Bar(GAP, 100, "ms"), Bar(CALLS, 0)), lambda _: Outcome({}))


def misses(gap_ms: float, calls: float, *faults: str) -> tuple[str, ...]:
    outcome = Outcome({GAP: Figure(gap_ms, "ms"), CALLS: Figure(calls)}, faults)
    return judge(DRILL, outcome, 1.0).misses


def test_a_bar_is_met_up_to_its_limit() -> None:
    assert misses(100.0, 0) == ()
    assert misses(100.5, 1) == ("audio gap 100 ms, at most 100 ms", "calls lost 1, at most 0")


def test_what_was_not_measured_is_no_success() -> None:
    verdict = judge(DRILL, Outcome({GAP: Figure(math.nan, "ms")}), 1.0)
    assert verdict.misses == ("audio gap nan ms, at most 100 ms", "calls lost was not measured")
    assert not verdict.is_met


def test_a_fault_is_a_miss_whatever_the_figures() -> None:
    assert misses(1.0, 0, "nobody warned") == ("nobody warned",)


@pytest.mark.parametrize(
    ("figure", "said"),
    [
        (Figure(0), "0"),
        (Figure(2711.4, "ms"), "2,711 ms"),
        (Figure(64.4, "ms"), "64 ms"),
        (Figure(1.24), "1.2"),
        (Figure(3, "calls"), "3 calls"),
    ],
)
def test_figures_are_told_as_exactly_as_they_are_known(figure: Figure, said: str) -> None:
    assert str(figure) == said


def test_a_bar_says_what_it_asks() -> None:
    assert DRILL.bar == "audio gap ≤ 100 ms; no calls lost"
    told = Drill("two", "", (Bar(CALLS, 0),), lambda _: Outcome({}), promise="the gap is told")
    assert told.bar == "the gap is told; no calls lost"

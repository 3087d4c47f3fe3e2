"""transceiver.steering.fitness: what a PoP is thought of, report by report."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transceiver.steering.fitness import (
    BUSY_UNTIL,
    FULL_UNTIL,
    RETURN_NS,
    Fitness,
    FitnessTable,
)

SECOND_NS = 1_000_000_000
FIT, BUSY, RETURNED, FULL = Fitness


@pytest.mark.parametrize(
    ("loads", "levels"),
    [
        ([0.0, 0.79, 0.80, 0.75, 0.70, 0.69], [FIT, FIT, BUSY, BUSY, BUSY, FIT]),
        ([0.94, 0.95, 0.9, 0.85, 0.84, 0.94, 0.95], [BUSY, FULL, FULL, FULL, BUSY, BUSY, FULL]),
        ([1.0, 0.1], [FULL, FIT]),
        ([None, 0.96, None, 0.75], [FIT, FULL, FIT, FIT]),
    ],
)
def test_load_counts_at_once_and_is_forgiven_late(loads: list[float | None], levels: list[Fitness]) -> None:
    table = FitnessTable()
    for at, (load, level) in enumerate(zip(loads, levels, strict=True)):
        table.report("fra", is_up=True, load=load, now_ns=at)
        assert table.of("fra", at) is level


def test_a_pop_that_comes_back_has_to_stay() -> None:
    table = FitnessTable()
    table.report("fra", is_up=True, load=None, now_ns=0)
    assert table.of("fra", 0) is FIT, "one that was never out is not suspected"
    table.report("fra", is_up=False, load=None, now_ns=SECOND_NS)
    table.report("fra", is_up=True, load=0.1, now_ns=5 * SECOND_NS)
    assert table.of("fra", 5 * SECOND_NS) is RETURNED
    table.report("fra", is_up=True, load=0.99, now_ns=6 * SECOND_NS)
    assert table.of("fra", 6 * SECOND_NS) is FULL, "the worst counts"
    table.report("fra", is_up=True, load=0.1, now_ns=7 * SECOND_NS)
    assert table.of("fra", 5 * SECOND_NS + RETURN_NS - 1) is RETURNED
    assert table.of("fra", 5 * SECOND_NS + RETURN_NS) is FIT


def test_a_first_start_is_no_return() -> None:
    """Relays and transceivers of a fleet may be started at once."""
    table = FitnessTable()
    table.report("fra", is_up=False, load=None, now_ns=0)
    table.report("fra", is_up=True, load=None, now_ns=SECOND_NS)
    assert table.of("fra", SECOND_NS) is FIT


def test_what_is_not_known_any_more_is_no_load_and_what_is_not_known_yet_no_start() -> None:
    """Heartbeats by way of a store that is gone, or of a relay that has yet to start."""
    table = FitnessTable()
    table.lose("fra")
    table.report("fra", is_up=False, load=None, now_ns=0)
    table.report("fra", is_up=True, load=1.0, now_ns=SECOND_NS)
    assert table.of("fra", SECOND_NS) is FULL
    table.lose("fra")
    assert table.of("fra", SECOND_NS) is FIT
    table.report("fra", is_up=True, load=0.1, now_ns=2 * SECOND_NS)
    assert table.of("fra", 2 * SECOND_NS) is FIT, "it was never out"


def test_one_that_flaps_never_comes_back() -> None:
    table = FitnessTable()
    for second in range(60):
        table.report("fra", is_up=second % 4 < 2, load=None, now_ns=second * SECOND_NS)
        if second >= 4:
            assert table.of("fra", second * SECOND_NS) is RETURNED


def test_one_that_is_not_configured_any_more_is_forgotten() -> None:
    table = FitnessTable()
    for pop in ("fra", "nrt"):
        table.report(pop, is_up=True, load=1.0, now_ns=0)
    table.keep(["nrt"])
    assert [table.of(pop, 0) for pop in ("fra", "nrt")] == [FIT, FULL]


@given(st.lists(st.floats(0, 1)))
def test_a_level_is_what_its_thresholds_say(loads: list[float]) -> None:
    table = FitnessTable()
    before = FIT
    for load in loads:
        table.report("fra", is_up=True, load=load, now_ns=0)
        level = table.of("fra", 0)
        if level < before:
            assert load < (FULL_UNTIL if before is FULL else BUSY_UNTIL), "better only when it is clear"
        before = level

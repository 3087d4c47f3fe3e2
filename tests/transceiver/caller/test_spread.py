"""Many figures in three."""

from __future__ import annotations

from transceiver.caller.spread import Spread


def test_percentiles_are_figures_that_were_measured() -> None:
    assert Spread.of([float(n) for n in range(100, 0, -1)]) == Spread(50.0, 95.0, 100.0)
    assert Spread.of([7.0]) == Spread(7.0, 7.0, 7.0)


def test_of_nothing_there_is_no_spread() -> None:
    assert Spread.of([]) is None

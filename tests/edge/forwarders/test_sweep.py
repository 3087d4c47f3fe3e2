"""How much of a table is looked at in a tick."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge.forwarders.sweep import ROUNDS_PER_TIMEOUT, TICK_S, part_of

S = 1_000_000_000


def test_a_table_gets_its_turn_so_often_in_a_timeout() -> None:
    assert part_of(0, 30 * S) == 0
    assert part_of(75, 30 * S) == 1
    assert part_of(76, 30 * S) == 2
    assert part_of(10, 1) == 10, "all of it, where a tick is longer than the timeout"


@given(st.integers(0, 1 << 20), st.integers(1, 3600 * S))
def test_no_place_waits_longer_than_a_round(places: int, idle_timeout_ns: int) -> None:
    ticks = max(idle_timeout_ns / S / ROUNDS_PER_TIMEOUT / TICK_S, 1)
    part = part_of(places, idle_timeout_ns)
    assert part * ticks >= places * (1 - 1e-9), "the whole table in one round"
    assert (part - 1) * ticks < places or not places, "and no more than that takes"

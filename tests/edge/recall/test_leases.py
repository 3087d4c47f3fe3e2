"""When records are written: at once, then when a third of their lease is left, and none is forgotten."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge.recall.leases import LOOKED_AT_ONCE, MAX_CHANGED, Leases

S = 1_000_000_000
LEASE_NS = 180 * S
T = 10_000 * S


def settle(leases: Leases, places: list[int], now_ns: int, *, is_live: bool = True) -> None:
    for place in places:
        leases.settle(place, now_ns, is_live=is_live)


def take_all(leases: Leases, now_ns: int) -> list[int]:
    """As many rounds as a whole one takes."""
    found: list[int] = []
    for _ in range(200):
        part = leases.take(now_ns, 64)
        settle(leases, part, now_ns)
        found += part
    return found


def test_a_change_is_due_at_once_and_then_when_two_thirds_of_the_lease_are_over() -> None:
    leases = Leases(LEASE_NS)
    assert leases.take(T, 10) == []
    leases.change(7)
    assert leases.due == 1
    assert leases.take(T, 10) == [7]
    leases.settle(7, T, is_live=True)
    assert leases.due == 0
    assert leases.take(T + 120 * S - 1, 10) == []
    assert leases.take(T + 120 * S, 10) == [7]


def test_what_is_not_settled_stays_due() -> None:
    leases = Leases(LEASE_NS)
    leases.change(7)
    assert leases.take(T, 10) == [7]
    assert leases.take(T, 10) == [7]


def test_what_was_put_off_is_due_then() -> None:
    leases = Leases(LEASE_NS)
    leases.put_off(7, T + 5 * S)
    assert leases.due == 0
    assert leases.take(T + 5 * S - 1, 10) == []
    assert leases.take(T + 5 * S, 10) == [7]


def test_a_place_without_a_flow_is_never_due_again_until_it_changes() -> None:
    leases = Leases(LEASE_NS)
    leases.change(7)
    settle(leases, leases.take(T, 10), T, is_live=False)
    assert leases.take(T + 10**6 * S, 10) == []
    leases.change(7)
    assert leases.take(T, 10) == [7]


def test_a_flow_that_changes_often_is_written_once() -> None:
    leases = Leases(LEASE_NS)
    for _ in range(5):
        leases.change(3)
    assert leases.take(T, 10) == [3]
    leases.settle(3, T, is_live=True)
    assert leases.take(T, 10) == []


def test_changes_come_before_renewals() -> None:
    leases = Leases(LEASE_NS)
    leases.change_all(range(1000))
    leases.change(900)
    assert leases.take(T, 4) == [900, 0, 1, 2]


def test_more_changes_than_the_queue_holds_are_found_all_the_same() -> None:
    leases = Leases(LEASE_NS)
    for place in range(MAX_CHANGED + 500):
        leases.change(place)
    assert sorted(take_all(leases, T)) == list(range(MAX_CHANGED + 500))


def test_a_store_that_came_back_empty_makes_all_due_and_each_is_written_once() -> None:
    leases = Leases(LEASE_NS)
    live = list(range(0, 5000, 3))
    leases.change_all(live)
    assert take_all(leases, T) == live
    assert take_all(leases, T) == []
    leases.change_all(live)
    assert sorted(take_all(leases, T)) == live
    leases.change_all([])
    assert take_all(leases, T) == []


def test_a_part_at_a_time_and_everybody_has_a_turn() -> None:
    """Flows that are always due at the beginning of the column do not keep the end of it from being seen."""
    leases = Leases(LEASE_NS)
    size = 3 * LOOKED_AT_ONCE
    leases.change_all(range(size))
    seen = set[int]()
    for _ in range(size // 64 + 10):
        seen.update(leases.take(T, 64))  # nothing is settled
    assert seen == set(range(size))


@given(st.lists(st.tuples(st.integers(0, 40), st.booleans(), st.integers(0, 100 * S)), max_size=60))
def test_no_live_flow_is_without_a_record_for_longer_than_its_lease(
    steps: list[tuple[int, bool, int]],
) -> None:
    leases, now_ns = Leases(LEASE_NS), T
    live, written = set[int](), dict[int, int]()
    for place, begins, wait_ns in steps:
        if begins:
            live.add(place)
            leases.change(place)
            written.pop(place, None)
        else:
            live.discard(place)
        for due in leases.take(now_ns, 100):
            leases.settle(due, now_ns, is_live=due in live)
            if due in live:
                written[due] = now_ns
        assert written.keys() >= live
        assert all(now_ns - written[each] <= LEASE_NS * 2 // 3 + 100 * S for each in live)
        now_ns += wait_ns

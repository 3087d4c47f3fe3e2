"""A direction with the time as a value: order, conservation, exact losses."""

from __future__ import annotations

from dataclasses import replace
from itertools import groupby, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.lab.wan.delay import MAX_BURST, MAX_DELAY_MS, Conditions, DelayLine

MS = 1_000_000
SECOND = 1000 * MS

times_ms = st.floats(0, MAX_DELAY_MS)


@st.composite
def conditions(draw: st.DrawFn) -> Conditions:
    burst = draw(st.one_of(st.just(1.0), st.floats(1, MAX_BURST)))
    most = 1.0 if burst == 1 else burst / (burst + 1)
    made = Conditions(draw(times_ms), draw(times_ms), 0.0, burst, draw(st.booleans()))
    return replace(made, loss=draw(st.floats(0, most * 0.999)))


steps = st.lists(
    st.one_of(
        st.tuples(st.just("offer"), st.integers(0, 1500)),
        st.tuples(st.just("wait"), st.integers(0, 2 * SECOND)),
        st.tuples(st.just("change"), conditions()),
        st.tuples(st.sampled_from(["cut", "restore", "take"]), st.none()),
    ),
    max_size=80,
)


@given(conditions(), steps)
def test_every_packet_is_delivered_queued_or_counted(
    first: Conditions, played: list[tuple[str, object]]
) -> None:
    line = DelayLine(first, "seed", max_packets=20, max_bytes=8000)
    now_ns, offered, taken = 0, 0, 0
    for what, value in played:
        if what == "offer" and isinstance(value, int):
            line.offer(bytes(value), now_ns)
            offered += 1
        elif what == "wait" and isinstance(value, int):
            now_ns += value
        elif what == "change" and isinstance(value, Conditions):
            line.conditions = value
        elif what == "cut":
            line.cut()
        elif what == "restore":
            line.restore()
        else:
            taken += len(line.take_due(now_ns))
        counts = line.counts
        assert counts.offered == offered
        assert counts.delivered == taken
        assert offered == taken + counts.lost + counts.cut + counts.overflowed + line.queued
        assert line.queued <= 20
        assert (line.due_ns is None) == (line.queued == 0)


@given(conditions(), st.lists(st.integers(0, 50 * MS), max_size=60))
def test_each_packet_comes_within_delay_and_jitter_and_in_order_unless_it_may_overtake(
    given_conditions: Conditions, gaps: list[int]
) -> None:
    line = DelayLine(replace(given_conditions, loss=0.0), "seed")
    sent_ns, now_ns = [], 0
    for number, gap in enumerate(gaps):
        now_ns += gap
        sent_ns.append(now_ns)
        line.offer(number.to_bytes(2, "big"), now_ns)
    came: list[int] = []
    while (due_ns := line.due_ns) is not None:
        if due_ns:
            assert line.take_due(due_ns - 1) == []
        for packet in line.take_due(due_ns):
            number = int.from_bytes(packet, "big")
            came.append(number)
            shortest = int(given_conditions.delay_ms * 1e6)
            longest = int((given_conditions.delay_ms + given_conditions.jitter_ms) * 1e6)
            earliest = sent_ns[number] + shortest
            assert earliest <= due_ns <= sent_ns[number] + longest, "none is held back by one that is later"
    assert sorted(came) == list(range(len(gaps)))
    if not given_conditions.reorder:
        assert came == sorted(came)


def delivered(line: DelayLine, packets: int) -> list[int]:
    """Which of so many numbered packets, offered a millisecond apart, come out in the end."""
    for number in range(packets):
        line.offer(number.to_bytes(4, "big"), number * MS)
    return [int.from_bytes(packet, "big") for packet in line.take_due(1 << 62)]


def test_jitter_with_reordering_reorders_and_without_does_not() -> None:
    loose = delivered(DelayLine(Conditions(10, 5, reorder=True), "seed"), 200)
    assert loose != sorted(loose)
    assert sorted(loose) == list(range(200))
    assert delivered(DelayLine(Conditions(10, 5), "seed"), 200) == list(range(200))


def test_a_seed_fixes_which_are_lost_whatever_the_times_are() -> None:
    came = delivered(DelayLine(Conditions(10, loss=0.1), "seed"), 1000)
    assert delivered(DelayLine(Conditions(300, 50, loss=0.1, reorder=False), "seed"), 1000) == came
    assert delivered(DelayLine(Conditions(10, loss=0.1), "another"), 1000) != came
    assert 1000 - len(came) == 101, "Python promises the same random numbers in every version"
    assert [number for number in range(40) if number not in came] == [0, 11, 19, 28, 34]


@pytest.mark.parametrize(("loss", "burst"), [(0.05, 1.0), (0.05, 5.0), (0.3, 20.0), (0.5, 2.0)])
def test_the_share_of_losses_and_their_bursts_are_as_told(loss: float, burst: float) -> None:
    packets = 100_000
    line = DelayLine(Conditions(loss=loss, burst=burst), "seed", max_packets=packets)
    came = delivered(line, packets)
    assert line.counts.lost == packets - len(came)
    assert line.counts.lost / packets == pytest.approx(loss, rel=0.1)
    arrived = set(came)
    runs = [len(list(run)) for is_lost, run in groupby(n not in arrived for n in range(packets)) if is_lost]
    expected = burst if burst > 1 else 1 / (1 - loss)
    assert sum(runs) / len(runs) == pytest.approx(expected, rel=0.1)


def test_all_can_be_lost() -> None:
    line = DelayLine(Conditions(loss=1.0), "seed")
    assert delivered(line, 100) == []
    assert line.counts.lost == 100


def test_a_shorter_delay_does_not_overtake() -> None:
    line = DelayLine(Conditions(100))
    line.offer(b"first", 0)
    line.conditions = Conditions(1)
    line.offer(b"second", 1 * MS)
    assert line.due_ns == 100 * MS
    assert line.take_due(100 * MS) == [b"first", b"second"]
    line.offer(b"third", 100 * MS)
    assert line.due_ns == 101 * MS


def test_a_cut_loses_what_is_under_way_and_what_comes_until_it_is_restored() -> None:
    line = DelayLine(Conditions(10))
    line.offer(b"under way", 0)
    line.cut()
    line.cut()
    line.offer(b"came", 1)
    assert line.due_ns is None
    assert line.counts.cut == 2
    line.restore()
    line.offer(b"after", 2)
    assert line.take_due(SECOND) == [b"after"]


@pytest.mark.parametrize(("size", "fit"), [(10, 5), (1500, 2)])
def test_there_is_room_for_so_many_packets_and_bytes(size: int, fit: int) -> None:
    line = DelayLine(Conditions(10), max_packets=5, max_bytes=3000)
    for _ in range(8):
        line.offer(bytes(size), 0)
    assert (line.queued, line.counts.overflowed) == (fit, 8 - fit)
    assert len(line.take_due(SECOND)) == fit
    line.offer(bytes(size), SECOND)
    assert line.queued == 1


def test_what_the_other_end_refuses_was_not_delivered() -> None:
    line = DelayLine(Conditions())
    line.offer(b"x", 0)
    assert line.take_due(0) == [b"x"]
    line.refuse()
    assert (line.counts.delivered, line.counts.refused) == (0, 1)


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"delay_ms": -1.0}, "delay_ms"),
        ({"delay_ms": MAX_DELAY_MS + 1}, "delay_ms"),
        ({"delay_ms": float("nan")}, "delay_ms"),
        ({"jitter_ms": float("inf")}, "jitter_ms"),
        ({"loss": 1.01}, "loss"),
        ({"burst": 0.5}, "burst"),
        ({"burst": MAX_BURST + 1}, "burst"),
        ({"loss": 0.9, "burst": 2.0}, "at most 0.666667"),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value),
)
def test_conditions_that_cannot_be_are_refused(values: dict[str, float], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        Conditions(**values)  # type: ignore[arg-type]


def test_due_times_never_go_back_in_order() -> None:
    line = DelayLine(Conditions(5, 20), "seed")
    due = []
    for number in range(300):
        line.offer(number.to_bytes(4, "big"), number * MS)
    while (due_ns := line.due_ns) is not None:
        due.append(due_ns)
        line.take_due(due_ns)
    assert all(a < b for a, b in pairwise(due))

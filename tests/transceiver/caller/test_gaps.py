"""Gaps between audio packets, and what is missing in them."""

from __future__ import annotations

import pytest

from transceiver.caller.gaps import MAX_GAPS, NOTABLE_NS, AudioGaps, Gap

MS = 1_000_000


def heard(*packets: tuple[int, int]) -> AudioGaps:
    """Of (ms, sequence number)."""
    gaps = AudioGaps()
    for at_ms, sequence in packets:
        gaps.packet(sequence, at_ms * MS)
    return gaps


def test_before_the_first_packet_there_is_no_gap() -> None:
    gaps = AudioGaps()
    assert (gaps.longest_ns, gaps.open_ns(5_000 * MS), gaps.until(5_000 * MS)) == (0, 0, [])


def test_a_gap_says_when_it_was_and_how_many_packets_it_took() -> None:
    gaps = heard((1000, 7), (1020, 8), (1520, 33), (1540, 34))
    assert gaps.until(1550 * MS) == [Gap(500 * MS, 1020 * MS, 24)]
    assert gaps.longest_ns == 500 * MS


def test_a_pause_in_which_nothing_was_lost_is_a_gap_too() -> None:
    assert heard((0, 1), (300, 2)).until(300 * MS) == [Gap(300 * MS, 0, 0)]


def test_what_is_short_counts_for_the_longest_alone() -> None:
    gaps = heard((0, 1), (NOTABLE_NS // MS - 1, 2))
    assert gaps.until(60 * MS) == []
    assert gaps.longest_ns == NOTABLE_NS - MS


def test_sequence_numbers_wrap() -> None:
    (gap,) = heard((0, 65_534), (100, 2)).until(100 * MS)
    assert gap.lost == 3


def test_a_packet_that_was_overtaken_is_no_step_back() -> None:
    gaps = heard((0, 10), (100, 9), (200, 11))
    assert [gap.lost for gap in gaps.until(200 * MS)] == [0, 0]


def test_what_has_not_ended_is_open() -> None:
    gaps = heard((0, 1), (20, 2))
    assert gaps.open_ns(520 * MS) == 500 * MS
    assert gaps.until(520 * MS) == [Gap(500 * MS, 20 * MS, 0, is_open=True)]
    assert gaps.until(30 * MS) == []
    assert gaps.longest_ns == 20 * MS


@pytest.mark.parametrize("order", ["rising", "falling"])
def test_the_longest_are_kept_and_told_in_order_of_time(order: str) -> None:
    lengths_ms = [100 + n for n in range(3 * MAX_GAPS)]
    gaps, at_ns = AudioGaps(), 0
    gaps.packet(0, at_ns)
    for number, length_ms in enumerate(lengths_ms if order == "rising" else reversed(lengths_ms)):
        at_ns += length_ms * MS
        gaps.packet(number + 1, at_ns)
    kept = gaps.until(at_ns)
    assert sorted(gap.length_ns // MS for gap in kept) == lengths_ms[-MAX_GAPS:]
    assert [gap.began_ns for gap in kept] == sorted(gap.began_ns for gap in kept)


def test_what_was_before_can_be_left_out() -> None:
    gaps = heard((0, 1), (500, 2))
    gaps.forget()
    assert (gaps.longest_ns, gaps.until(500 * MS)) == (0, [])
    gaps.packet(3, 600 * MS)
    assert gaps.until(600 * MS) == [Gap(100 * MS, 500 * MS, 0)]

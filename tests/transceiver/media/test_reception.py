"""Receive statistics, against RFC 3550 §6.4.1 and appendix A."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transceiver.media import FRAME_NS, RTP_FRAME_TICKS
from transceiver.media.reception import Reception, ntp_from_ns, round_trip_ns
from transceiver.media.rtcp import ReportBlock

S = 1_000_000_000


def receive(reception: Reception, sequences: list[int]) -> list[int | None]:
    """Feed packets that arrive every 20 ms."""
    return [
        reception.update(sequence % 65536, index * RTP_FRAME_TICKS, index * FRAME_NS)
        for index, sequence in enumerate(sequences)
    ]


def test_extended_numbers_count_wraps_and_follow_reordering_across_them() -> None:
    assert receive(Reception(1, 65534), [65534, 65536, 65535, 65537, 65538]) == [
        65534,
        65536,
        65535,
        65537,
        65538,
    ]


def test_loss_fraction_counts_since_the_last_report() -> None:
    reception = Reception(1, 1)
    receive(reception, [n for n in range(100) if n % 4])
    block = reception.report(S)
    assert (block.fraction_lost, block.lost, block.highest_sequence) == (24 * 256 // 99, 24, 99)
    receive(reception, list(range(100, 200)))
    block = reception.report(2 * S)
    assert (block.fraction_lost, block.lost) == (0, 24)


def test_duplicates_make_loss_negative_but_not_its_fraction() -> None:
    reception = Reception(1, 0)
    receive(reception, [0, 1, 1, 1, 2])
    block = reception.report(S)
    assert (block.fraction_lost, block.lost) == (0, -2)


def test_packets_before_the_first_arrival_are_expected_too() -> None:
    reception = Reception(1, 10)
    receive(reception, [10, 8, 9, 11])
    assert (reception.expected, reception.lost) == (4, 0)


def test_a_jump_counts_only_when_its_successor_follows() -> None:
    reception = Reception(1, 0)
    assert receive(reception, [0, 1, 40_000, 2, 3]) == [0, 1, None, 2, 3]
    assert reception.lost == 0


def test_a_restarted_sender_is_followed_at_its_second_packet_and_numbers_go_on_rising() -> None:
    reception = Reception(1, 500)
    extended = receive(reception, [500, 501, 40_000, 40_001, 40_002])
    assert extended == [500, 501, None, 65_536 + 40_001, 65_536 + 40_002]
    assert reception.lost == 0


def test_jitter_is_a_sixteenth_of_each_change() -> None:
    reception = Reception(1, 0)
    reception.update(0, 0, 0)
    reception.update(1, 960, FRAME_NS + 10_000_000)
    assert reception.jitter == pytest.approx(480 / 16)
    reception.update(2, 1920, 2 * FRAME_NS + 10_000_000)
    assert reception.jitter == pytest.approx(30 - 30 / 16)


def test_jitter_survives_a_timestamp_wrap() -> None:
    reception = Reception(1, 0)
    reception.update(0, 2**32 - 480, 0)
    reception.update(1, 480, FRAME_NS)
    assert reception.jitter == 0


def test_round_trip_of_rfc_3550_figure_2() -> None:
    """A at 10 Nov 1995 11:33:36.5, LSR 0xb705:2000, DLSR 5.25 s, seen at 0xb710:8000: 6.125 s."""
    sent = 0xB710_8000 << 16
    now_ns = (sent >> 32) * S + S // 2
    block = ReportBlock(1, 0, 0, 0, 0, 0xB705_2000, 0x0005_4000)
    assert round_trip_ns(block, now_ns) == 6_125_000_000


def test_round_trip_is_unknown_without_a_sender_report_and_for_impossible_claims() -> None:
    assert round_trip_ns(ReportBlock(1, 0, 0, 0, 0, 0, 0), S) is None
    last_report = ntp_from_ns(5 * S) >> 16
    assert round_trip_ns(ReportBlock(1, 0, 0, 0, 0, last_report, 10 << 16), 6 * S) is None


@given(st.integers(0, 2**62), st.integers(0, 10 * S), st.integers(0, S))
def test_round_trip_between_two_ends(sent_ns: int, away_ns: int, trip_ns: int) -> None:
    far_end = Reception(1, 0)
    far_end.note_sender_report(ntp_from_ns(sent_ns), 77)
    block = far_end.report(77 + away_ns)
    if not block.last_report:
        return
    measured = round_trip_ns(block, sent_ns + away_ns + trip_ns)
    if measured is None:
        # The rounding of 1/65536 s may exceed a round trip of nothing.
        assert trip_ns < 50_000
    else:
        assert abs(measured - trip_ns) < 50_000


@given(st.lists(st.tuples(st.integers(0, 65535), st.integers(0, 2**32 - 1)), min_size=1, max_size=50))
def test_any_sequence_gives_a_block_that_fits_its_fields(packets: list[tuple[int, int]]) -> None:
    reception = Reception(1, packets[0][0])
    for index, (sequence, timestamp) in enumerate(packets):
        reception.update(sequence, timestamp, index * FRAME_NS)
        block = reception.report(index * FRAME_NS)
        assert 0 <= block.fraction_lost <= 255
        assert -(1 << 23) <= block.lost < 1 << 23
        assert 0 <= block.jitter < 1 << 32

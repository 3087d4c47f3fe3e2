"""Media time from senders that keep RFC 7587's clock, keep it badly, or keep another."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transceiver.media.timeline import Timeline

MS = 1_000_000
TICKS_PER_MS = 48
FRAME = 20 * TICKS_PER_MS
DURATIONS_MS = [2.5, 5, 10, 20, 40, 60, 80, 100, 120]


class Feed:
    """Packets of one stream, as they arrive at a timeline."""

    def __init__(self) -> None:
        self.timeline = Timeline()
        self.media: list[int] = []

    def take(self, sequence: int, timestamp: int, ticks: int, at_ms: float) -> int:
        self.media.append(self.timeline.place(sequence, timestamp % 2**32, ticks, int(at_ms * MS)))
        return self.media[-1]

    @property
    def steps(self) -> list[int]:
        return [later - sooner for sooner, later in pairwise(self.media)]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(DURATIONS_MS),
            st.one_of(st.just(0), st.just(0), st.integers(1, 30)),  # packets left out: a pause
            st.sampled_from([True, True, True, False]),  # arrives
            st.floats(0, 60),  # late by, ms
        ),
        min_size=2,
        max_size=200,
    ),
    st.integers(0, 2**32 - 1),
)
def test_no_honest_stream_is_taken_for_another_clock(
    packets: list[tuple[float, int, bool, float]], start: int
) -> None:
    """Whatever its frames, pauses, losses, jitter and first timestamp: media time is the timestamp's."""
    feed, at_ms = Feed(), 0.0
    arrivals = []
    for number, (lasts_ms, pause, arrives, late_ms) in enumerate(packets):
        if arrives:
            arrivals.append((at_ms + lasts_ms + late_ms, number, at_ms, lasts_ms))
        at_ms += lasts_ms * (1 + pause)
    origin: int | None = None
    for arrives_ms, number, sent_ms, lasts_ms in sorted(arrivals):
        ticks = int(sent_ms * TICKS_PER_MS)
        media = feed.take(number, start + ticks, int(lasts_ms * TICKS_PER_MS), arrives_ms)
        origin = media - ticks if origin is None else origin
        assert media - ticks == origin
    assert (feed.timeline.odd_packets, feed.timeline.foreign_packets) == (0, 0)


@pytest.mark.parametrize("jitter_ms", [0, 12])
@pytest.mark.parametrize("lasts_ms", [10, 20, 40, 60])
@pytest.mark.parametrize("clock", [0, 50, 1_000, 8_000, 12_000, 16_000, 24_000, 44_100, 90_000, 1_000_000])
def test_packets_of_another_clock_are_placed_by_sequence(clock: int, lasts_ms: int, jitter_ms: int) -> None:
    feed, chance = Feed(), random.Random(clock)
    for number in range(100):
        at_ms = number * lasts_ms + chance.uniform(0, jitter_ms)
        feed.take(number, 2**32 - 3 + number * lasts_ms * clock // 1000, lasts_ms * TICKS_PER_MS, at_ms)
    assert feed.timeline.is_foreign
    assert feed.timeline.foreign_packets > 80
    assert set(feed.steps[-80:]) == {lasts_ms * TICKS_PER_MS}


def test_a_foreign_clock_with_loss_counts_what_was_lost() -> None:
    feed = Feed()
    for number in range(60):
        feed.take(number, number * 160, FRAME, number * 20)
    for number in (61, 64, 65):
        feed.take(number, number * 160, FRAME, number * 20)
    assert feed.steps[-3:] == [2 * FRAME, 3 * FRAME, FRAME]


def test_a_reordered_packet_of_a_foreign_clock_goes_where_it_belongs() -> None:
    feed = Feed()
    for number in range(60):
        feed.take(number, number * 160, FRAME, number * 20)
    feed.take(61, 61 * 160, FRAME, 1220)
    assert feed.take(60, 60 * 160, FRAME, 1221) == feed.media[-2] - FRAME


def test_a_sender_that_finds_the_right_clock_is_believed_again() -> None:
    feed = Feed()
    for number in range(60):
        feed.take(number, number * 160, FRAME, number * 20)
    for number in range(60, 90):
        feed.take(number, 9600 + (number - 60) * FRAME, FRAME, number * 20)
    assert not feed.timeline.is_foreign
    assert set(feed.steps[-80:]) == {FRAME}
    assert feed.take(90, 9600 + 30 * FRAME + 5 * FRAME, FRAME, 1900) - feed.media[-2] == 6 * FRAME


def test_comfort_noise_that_a_stalled_network_delivers_at_once_is_no_foreign_clock() -> None:
    feed = Feed()
    for number in range(20):
        feed.take(number, number * 20 * FRAME, FRAME, 8_000 + number * 0.1)
    assert not feed.timeline.is_foreign
    assert set(feed.steps) == {20 * FRAME}


@pytest.mark.parametrize("step", [953, 959, 961, 967, 948, 972])
def test_a_clock_that_is_a_little_off_is_odd_and_not_foreign(step: int) -> None:
    feed = Feed()
    for number in range(500):
        feed.take(number, number * step, FRAME, number * 20)
    assert (feed.timeline.odd_packets, feed.timeline.foreign_packets) == (499, 0)


def test_forget_starts_anew_but_keeps_the_counts() -> None:
    feed = Feed()
    for number in range(60):
        feed.take(number, number * 160, FRAME, number * 20)
    counted = feed.timeline.foreign_packets
    feed.timeline.forget()
    assert feed.take(5, 77, FRAME, 2_000) == 77
    assert not feed.timeline.is_foreign
    assert feed.timeline.foreign_packets == counted

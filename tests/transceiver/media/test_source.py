"""Whose packets are heard when a client sends more than one stream."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transceiver.media.rtp import RtpPacket
from transceiver.media.source import SSRC_TAKEOVER_SILENCE_NS, Sources

MS = 1_000_000
OPUS = {10: b"\x40", 20: b"\x48", 40: b"\x50", 60: b"\x58", 120: b"\x59"}
"""The first byte of wideband SILK packets, by how many milliseconds they last (RFC 6716 §3.1)."""


class Scene:
    """Packets of streams, by SSRC, and which of them are played."""

    def __init__(self) -> None:
        self.sources = Sources()
        self.taken: list[tuple[int, int]] = []
        self.played: list[tuple[int, int]] = []

    def packet(self, ssrc: int, sequence: int, at_ms: float, payload: bytes = OPUS[20]) -> None:
        packet = RtpPacket(111, False, sequence, sequence * 960, ssrc, payload)
        self.taken.append((ssrc, sequence))
        for heard in self.sources.choose(packet, int(at_ms * MS)):
            assert heard.at_ns <= at_ms * MS
            self.played.append((heard.packet.ssrc, heard.packet.sequence))

    def stream(self, ssrc: int, from_ms: int, until_ms: int) -> None:
        for at_ms in range(from_ms, until_ms, 20):
            self.packet(ssrc, at_ms // 20, at_ms)


@pytest.mark.parametrize("gap_ms", [0, 20, 199, 200, 5_000])
def test_a_successor_is_heard_whole_whenever_it_comes(gap_ms: int) -> None:
    scene = Scene()
    scene.stream(1001, 0, 1_000)
    scene.stream(1002, 980 + gap_ms, 2_980 + gap_ms)
    assert scene.played == scene.taken
    assert scene.sources.ignored == 0


def test_successors_follow_each_other_back_and_forth() -> None:
    scene = Scene()
    for turn in range(20):
        scene.stream(1 + turn % 2, turn * 1_000, turn * 1_000 + 1_000)
    assert scene.played == scene.taken


@pytest.mark.parametrize("lasts_ms", [10, 20, 40, 60, 120])
def test_successors_in_packets_of_any_length_are_heard_whole(lasts_ms: int) -> None:
    scene = Scene()
    for at_ms in range(0, 4_800, lasts_ms):
        scene.packet(1 if at_ms < 2_400 else 2, at_ms, at_ms, OPUS[lasts_ms])
    assert scene.played == scene.taken


@pytest.mark.parametrize("lasts_ms", [10, 40, 60, 120])
def test_long_packets_have_longer_to_come(lasts_ms: int) -> None:
    scene = Scene()
    for at_ms in range(0, 3_000, lasts_ms):
        scene.packet(1, at_ms, at_ms, OPUS[lasts_ms])
        for later_ms in range(at_ms, at_ms + lasts_ms, 20):
            scene.packet(2, later_ms, later_ms + 1)
    assert {ssrc for ssrc, _ in scene.played} == {1}


@pytest.mark.parametrize("offset_ms", [0, 1, 10, 19])
def test_of_two_streams_at_once_only_the_first_is_heard(offset_ms: int) -> None:
    scene = Scene()
    for number in range(200):
        scene.packet(1, number, number * 20)
        scene.packet(2, number, number * 20 + offset_ms)
    assert {ssrc for ssrc, _ in scene.played} == {1}
    assert scene.sources.ignored == 200


def test_a_stream_beside_the_caller_is_heard_once_the_caller_is_silent() -> None:
    scene = Scene()
    for number in range(50):
        scene.packet(1, number, number * 20)
        scene.packet(2, number, number * 20)
    scene.stream(2, 1_000, 3_000)
    first = next(sequence for ssrc, sequence in scene.played if ssrc == 2)
    assert first * 20 == 980 + SSRC_TAKEOVER_SILENCE_NS // MS


def test_a_caller_that_did_not_stop_is_heard_again_and_the_other_is_not() -> None:
    """The caller loses two packets just as another stream begins."""
    scene = Scene()
    for number in range(100):
        if number not in (50, 51):
            scene.packet(1, number, number * 20)
        if number >= 50:
            scene.packet(2, number, number * 20 + 1)
    assert [sequence for ssrc, sequence in scene.played if ssrc == 2] == [50, 51, 52, 53]
    assert [sequence for ssrc, sequence in scene.played if ssrc == 1][-1] == 99


def test_a_straggler_of_the_last_caller_changes_nothing() -> None:
    scene = Scene()
    scene.stream(1, 0, 1_000)
    scene.packet(2, 0, 1_000)
    scene.packet(1, 50, 1_005)
    for number in range(1, 50):
        scene.packet(2, number, 1_000 + number * 20)
        if number == 4:
            scene.packet(1, 51, 1_081)
    assert [sequence for ssrc, sequence in scene.played if ssrc == 2] == list(range(1, 50))


def test_a_goodbye_of_others_changes_nothing() -> None:
    scene = Scene()
    scene.stream(1, 0, 1_000)
    scene.sources.release((2, 3))
    scene.packet(2, 0, 1_000)
    assert scene.played[-1][0] == 1


@given(st.integers(0, 2**32), st.floats(0, 0.3), st.floats(0, 60), st.integers(2, 5))
def test_streams_at_once_are_settled_soon_whatever_the_network_does(
    seed: int, loss: float, jitter_ms: float, streams: int
) -> None:
    scene, chance = Scene(), random.Random(seed)
    arrivals = [
        (number * 20 + chance.uniform(0, jitter_ms), 1 + ssrc, number)
        for number in range(200)
        for ssrc in range(streams)
        if chance.random() >= loss
    ]
    for at_ms, ssrc, number in sorted(arrivals):
        scene.packet(ssrc, number, at_ms)
    callers = [ssrc for ssrc, _ in scene.played]
    changes = sum(sooner != later for sooner, later in pairwise(callers))
    assert changes <= 2 * streams
    if not loss and jitter_ms < 15:
        assert not changes
    assert len(scene.played) + scene.sources.ignored + len(scene.sources._kept) == len(scene.taken)


@given(st.lists(st.tuples(st.integers(1, 30), st.integers(0, 300)), max_size=300))
def test_no_packet_is_heard_twice_or_forgotten(packets: list[tuple[int, int]]) -> None:
    scene, at_ms = Scene(), 0
    for sequence, (ssrc, wait_ms) in enumerate(packets):
        at_ms += wait_ms
        scene.packet(ssrc, sequence, at_ms)
    assert len(scene.played) == len(set(scene.played))
    assert len(scene.played) + scene.sources.ignored + len(scene.sources._kept) == len(packets)
    assert len(scene.sources._beside) <= 16

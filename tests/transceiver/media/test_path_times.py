"""What a path knows of the way of its audio: when a frame's packet came, and when ours go."""

from __future__ import annotations

import pytest

from tests.transceiver.media.simulation import (
    ENCODER_LOOKAHEAD_MS,
    MS,
    NETWORK_MS,
    converse,
    long_frames,
    pair,
)
from transceiver.media import FRAME_NS
from transceiver.media.codec import AudioCodec
from transceiver.media.path import AudioPath
from transceiver.media.playout import Playout
from transceiver.media.reception import ntp_from_ns
from transceiver.media.rtcp import ReceiverReport, ReportBlock, build_rtcp
from transceiver.media.sender import silent_packet

FRAMES = long_frames(2.0)
NETWORK_NS = int(NETWORK_MS * MS)


def listen(packet_ms: int, lost: int | None = None, jitter_ms: int = 0) -> list[tuple[int, int]]:
    """(arrival, what is unplayed) with each frame that is heard, on a network that takes `NETWORK_MS`, and so
    much more for two of three packets.
    """
    alice, bob = pair(AudioCodec(111, packet_ms=packet_ms))
    told = []
    for number, frame in enumerate(FRAMES):
        sent_ns = number * FRAME_NS
        for packet in (alice.push(frame, sent_ns), alice.push_second()):
            if packet is not None and number != lost:
                late_ns = jitter_ms * MS if number % 3 else 0
                assert bob.receive_untrusted(packet, sent_ns + NETWORK_NS + late_ns)
        heard = bob.pull(sent_ns + NETWORK_NS + 17 * MS)
        if heard is not None and bob.arrived_ns is not None:
            told.append((bob.arrived_ns, bob.unplayed_ns))
    return told


@pytest.mark.parametrize(("packet_ms", "first"), [(10, 0), (20, 0), (40, 1), (60, 2)])
def test_each_frame_has_come_when_it_was_said_and_the_network_let_it(packet_ms: int, first: int) -> None:
    told = listen(packet_ms)
    assert len(told) > 80
    for number, (arrived_ns, unplayed_ns) in enumerate(told):
        assert arrived_ns - unplayed_ns == number * FRAME_NS + NETWORK_NS
    assert told[0][1] == first * FRAME_NS


def test_a_frame_that_was_lost_counts_as_come_in_its_time() -> None:
    for number, (arrived_ns, unplayed_ns) in enumerate(listen(20, lost=40)):
        assert arrived_ns - unplayed_ns == number * FRAME_NS + NETWORK_NS


def test_jitter_does_not_make_a_frame_younger() -> None:
    told = listen(20, jitter_ms=15)
    for number, (arrived_ns, unplayed_ns) in enumerate(told[3:], 3):
        assert arrived_ns - unplayed_ns == number * FRAME_NS + NETWORK_NS


@pytest.mark.parametrize("jump", [2**30, -(2**30)])
def test_what_was_fastest_before_a_stream_began_anew_counts_no_more(jump: int) -> None:
    playout = Playout()
    arrived = []
    for number in range(200):
        now_ns = 10**12 + number * FRAME_NS
        stamp = (number * 960 + (0 if number < 100 else jump)) % 2**32
        playout.insert(number, stamp, silent_packet(), now_ns)
        if playout.pull(now_ns + 5 * MS) is not None and playout.arrived_ns is not None:
            arrived.append((now_ns - playout.arrived_ns) // MS)
    assert set(arrived) <= {0, 20, 40}


def test_before_the_first_packet_nothing_is_known() -> None:
    path, _ = pair(AudioCodec(111))
    path.pull(0)
    assert (path.arrived_ns, path.unplayed_ns, path.least_round_trip_ns) == (None, 0, None)


def test_the_least_round_trip_of_the_last_few_counts() -> None:
    alice, bob = converse((FRAMES, FRAMES))
    for party in (alice, bob):
        assert party.path.least_round_trip_ns == pytest.approx(2 * NETWORK_MS * MS, abs=0.1 * MS)
    us, far = pair(AudioCodec(111))
    assert tell(us, far, 80) == 80
    assert tell(us, far, 60) == 60
    assert [tell(us, far, each) for each in (90, 70, 75, 72)] == [60] * 4
    assert tell(us, far, 74) == 70, "what was six reports ago is forgotten"


@pytest.mark.parametrize("lie_ms", [11_000, 20_000_000])
def test_a_round_trip_that_nobody_could_talk_over_is_not_believed(lie_ms: int) -> None:
    us, far = pair(AudioCodec(111))
    assert tell(us, far, lie_ms) is None
    assert us.stats.rtt_ms is not None


def tell(us: AudioPath, far: AudioPath, round_trip_ms: int) -> int | None:
    """A report that says so; what is known after it, in whole ms."""
    now_ns = 100_000_000 * MS
    then = ntp_from_ns(now_ns - round_trip_ms * MS) >> 16 & 0xFFFFFFFF
    block = ReportBlock(1, 0, 0, 0, 0, then, 0)
    packet = far._srtp.protect_rtcp(build_rtcp(ReceiverReport(2, (block,))))
    assert us.receive_untrusted(packet, now_ns)
    known_ns = us.least_round_trip_ns
    return None if known_ns is None else round(known_ns / MS)


@pytest.mark.parametrize(
    ("packet_ms", "waits_ms"), [(10, [0, 0, 0]), (20, [0, 0, 0]), (40, [20, 0, 20]), (60, [40, 20, 0])]
)
def test_sound_leaves_when_its_packet_is_full(packet_ms: int, waits_ms: list[int]) -> None:
    path, _ = pair(AudioCodec(111, packet_ms=packet_ms))
    leaving = []
    for number, frame in enumerate(FRAMES[:3]):
        leaving.append(path.leaving_ns / MS)
        path.push(frame, number * FRAME_NS)
    assert leaving == [wait + ENCODER_LOOKAHEAD_MS for wait in waits_ms]

"""Whole audio paths: speech over clean, lossy, jittery and hostile networks, in virtual time."""

from __future__ import annotations

import itertools
import random
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.sound import find, speech
from tests.transceiver.media.simulation import (
    MS,
    NETWORK_MS,
    clean,
    converse,
    long_frames,
    long_speech,
    losing,
    pair,
    pushed,
    receive_delay_ms,
)
from transceiver.media import FRAME_BYTES, FRAME_NS
from transceiver.media.codec import PACKET_MS, AudioCodec
from transceiver.media.keys import SrtpKeys
from transceiver.media.opus import Decoder, Encoder
from transceiver.media.path import COUNTERS, GAUGES, AudioPath, PathStats
from transceiver.media.rtcp import (
    Bye,
    ReceiverReport,
    ReportBlock,
    SenderReport,
    build_rtcp,
    parse_rtcp_untrusted,
)
from transceiver.media.rtp import RtpPacket, build_rtp, parse_rtp_untrusted
from transceiver.media.sender import TAIL_FRAMES, silent_packet
from transceiver.media.source import SSRC_TAKEOVER_SILENCE_NS
from transceiver.media.srtp import Srtp

CODEC = AudioCodec(111, telephone_event=126)
PROFILE = "SRTP_AES128_CM_SHA1_80"
SECONDS = 8.0
SOURCE, FRAMES = long_speech(SECONDS), long_frames(SECONDS)
QUIET: list[bytes | None] = [None] * len(FRAMES)
DELAY_BOUND_MS = 45.0


class Stranger:
    """A far end whose packets the test writes itself."""

    def __init__(self, codec: AudioCodec = CODEC) -> None:
        keys = bytes(range(30)), bytes(range(100, 130))
        self.srtp = Srtp(SrtpKeys(PROFILE, *map(bytearray, keys)))
        self.path = AudioPath(SrtpKeys(PROFILE, *map(bytearray, keys[::-1])), codec, 0x0AA, "us", 0)

    def rtp(
        self,
        number: int,
        now_ns: int,
        *,
        ssrc: int = 7,
        payload_type: int = 111,
        payload: bytes = b"",
        timestamp: int | None = None,
    ) -> bool:
        """Have the path receive one packet of silence, or of `payload`."""
        stamp = (number * 960 if timestamp is None else timestamp) % 2**32
        packet = RtpPacket(payload_type, False, number % 65536, stamp, ssrc, payload or silent_packet())
        return self.path.receive_untrusted(self.srtp.protect(build_rtp(packet)), now_ns)

    def rtcp(self, data: bytes, now_ns: int) -> bool:
        """Have the path receive a report."""
        return self.path.receive_untrusted(self.srtp.protect_rtcp(data), now_ns)


_ENCODER = Encoder(28_000, complexity=5, fec=False, dtx=False)
SPOKEN = [_ENCODER.encode(frame) for frame in FRAMES[:250]]
_DECODER = Decoder()
DECODED = np.frombuffer(b"".join(map(_DECODER.decode, SPOKEN)), "<i2")


@pytest.mark.parametrize("phase_ms", [0.0, 0.1, 10.0, 19.9])
def test_on_a_clean_network_both_hear_each_other_within_the_bound(phase_ms: float) -> None:
    alice, bob = converse((FRAMES, FRAMES), pull_phase_ms=phase_ms)
    for party in (alice, bob):
        delays = [receive_delay_ms(party, SOURCE, at_ms) for at_ms in range(200, 5000, 600)]
        assert max(delays) < DELAY_BOUND_MS
        assert max(delays) - min(delays) < 1
        stats = party.path.stats
        assert (stats.lost, stats.late, stats.concealed_frames, stats.malformed, stats.ignored) == (0,) * 5
        assert stats.packets_sent == stats.packets_received == len(FRAMES)
        assert 0 <= stats.jitter_ms < 1


@pytest.mark.parametrize("fec", [True, False])
@pytest.mark.parametrize("lost", [[100], [100, 101], list(range(100, 110)), list(range(50, 290, 25))])
def test_lost_packets_leave_the_delay_where_it_was(lost: list[int], fec: bool) -> None:
    _, bob = converse((FRAMES, QUIET), (losing(*lost), clean), codec=AudioCodec(111, fec=fec))
    assert all(
        receive_delay_ms(bob, SOURCE, at_ms) < DELAY_BOUND_MS for at_ms in (500, 1500, 2400, 3400, 4400, 5000)
    )
    assert bob.path.stats.lost == len(lost)


def test_speech_survives_ten_percent_loss_with_the_help_of_fec() -> None:
    chance = random.Random(3)
    lost = {number for number in range(len(FRAMES)) if chance.random() < 0.1}
    alice, bob = converse((FRAMES, FRAMES), (losing(*lost), clean))
    assert find(speech()[4800:24000], bob.audio[48_000:]).likeness > 0.8
    stats = bob.path.stats
    assert stats.lost == len(lost - {len(FRAMES) - 1})
    assert stats.fec_frames > stats.lost / 2
    assert alice.path.stats.remote_fraction_lost > 0.02
    assert alice.path.stats.remote_lost > 0.7 * len(lost)


@pytest.mark.parametrize("held_ms", [40, 100, 200, 300], ids=lambda held: f"{held} ms")
def test_a_burst_of_late_packets_is_over_within_two_seconds(held_ms: int) -> None:
    held = range(100, 100 + held_ms // 20)
    until_ms = held.stop * 20
    _, bob = converse(
        (FRAMES, QUIET), (lambda n: NETWORK_MS + (until_ms - n * 20 if n in held else 0), clean)
    )
    assert receive_delay_ms(bob, SOURCE, until_ms, 200) > DELAY_BOUND_MS - 20
    for at_ms in (until_ms + 2000, 5000):
        assert receive_delay_ms(bob, SOURCE, at_ms) < DELAY_BOUND_MS


def test_a_jittery_path_is_heard_whole_once_the_buffer_has_grown() -> None:
    chance = random.Random(5)
    late = [chance.uniform(0, 50) for _ in FRAMES]
    _, bob = converse((FRAMES, QUIET), (lambda number: NETWORK_MS + late[number], clean))
    assert find(SOURCE[48_000:96_000], bob.audio).likeness > 0.9
    assert 5 < bob.path.stats.jitter_ms < 50
    assert bob.path.stats.buffer_ms < 120


@settings(max_examples=15)
@given(st.randoms(use_true_random=False), st.floats(0, 0.2), st.floats(0, 60), st.floats(0, 19.9))
def test_whatever_the_network_did_for_two_seconds_the_delay_comes_back(
    chance: random.Random, loss: float, jitter_ms: float, phase_ms: float
) -> None:
    bad = [None if chance.random() < loss else NETWORK_MS + chance.uniform(0, jitter_ms) for _ in range(100)]
    _, bob = converse(
        (FRAMES, QUIET), (lambda n: bad[n] if n < len(bad) else NETWORK_MS, clean), pull_phase_ms=phase_ms
    )
    assert receive_delay_ms(bob, SOURCE, 7300) < DELAY_BOUND_MS
    assert all(len(pcm) == FRAME_BYTES for pcm in bob.heard)


def test_reports_tell_round_trip_loss_and_each_other() -> None:
    alice, bob = converse((FRAMES, FRAMES), (losing(*range(100, 110)), clean))
    for party in (alice, bob):
        assert party.path.stats.rtt_ms == pytest.approx(2 * NETWORK_MS, abs=0.1)
    assert alice.path.stats.remote_lost == 10
    assert bob.path.stats.remote_lost == 0
    assert alice.path.stats.bytes_received == bob.path.stats.bytes_sent


@pytest.mark.parametrize("packet_ms", PACKET_MS)
def test_packets_of_the_length_that_the_far_end_asked_for_are_heard(packet_ms: int) -> None:
    _, bob = converse((FRAMES, QUIET), codec=AudioCodec(111, packet_ms=packet_ms))
    assert find(SOURCE[48_000:96_000], bob.audio).likeness > 0.9
    stats = bob.path.stats
    assert stats.packets_received == len(FRAMES) * 20 // packet_ms
    assert (stats.lost, stats.late, stats.odd_timestamps, stats.foreign_timestamps) == (0,) * 4


@pytest.mark.parametrize("packet_ms", PACKET_MS)
def test_a_sender_report_tells_the_media_time_of_its_moment(packet_ms: int) -> None:
    """RFC 3550 §6.4.1: its two timestamps are of one instant, whatever is still being gathered."""
    far = Stranger(AudioCodec(111, packet_ms=packet_ms))
    starts, reports = [], []
    for tick in range(500):
        now_ns = tick * FRAME_NS
        for datagram in (far.path.push(FRAMES[tick % 100], now_ns), far.path.push_second()):
            data = None if datagram is None else far.srtp.unprotect_untrusted(datagram)
            starts += [] if data is None else [parse_rtp_untrusted(data).timestamp]
        report = far.path.poll_rtcp(now_ns + 5 * MS)
        data = None if report is None else far.srtp.unprotect_rtcp_untrusted(report)
        if data is not None:
            reports += [(now_ns + 5 * MS, p) for p in parse_rtcp_untrusted(data)]
    assert len(reports) > 5
    for at_ns, told in reports:
        assert isinstance(told, SenderReport)
        assert (told.timestamp - starts[0]) % 2**32 == pytest.approx(960 + at_ns * 48 // MS, abs=1)


def test_nothing_to_say_costs_no_encoding() -> None:
    _, bob = converse((FRAMES, QUIET))
    assert bob.path.stats.packets_sent == len(QUIET)
    assert bob.path.stats.encoded_frames == 0


def test_a_talk_spurt_ends_cleanly_and_then_costs_nothing() -> None:
    spurt = [*FRAMES[:50], *[None] * 100]
    alice, bob = converse((spurt, [None] * len(spurt)))
    assert alice.path.stats.encoded_frames == 50 + TAIL_FRAMES
    assert max(abs(bob.audio[-480 * 80 :].astype(int))) <= 2


def test_reports_come_once_a_second_on_average_and_the_first_within_one() -> None:
    alice, _ = pair(CODEC)
    due = [now_ns for now_ns in range(0, 100_000 * MS, FRAME_NS) if alice.poll_rtcp(now_ns) is not None]
    gaps = [later - sooner for sooner, later in itertools.pairwise(due)]
    assert due[0] < 1000 * MS
    assert 500 * MS <= min(gaps) <= max(gaps) <= 1540 * MS
    assert 80 <= len(due) <= 125


def test_strangers_and_replays_are_refused_and_counted() -> None:
    alice, bob = pair(CODEC)
    datagram = pushed(alice, FRAMES[0], 0)
    assert bob.receive_untrusted(datagram, 0)
    assert not bob.receive_untrusted(datagram, 0)
    tampered = bytearray(pushed(alice, FRAMES[1], 0))
    tampered[-1] ^= 1
    assert not bob.receive_untrusted(bytes(tampered), 0)
    assert (bob.stats.replayed, bob.stats.unauthentic) == (1, 1)


@given(st.binary(max_size=200), st.integers(128, 191), st.sampled_from([111, 200, 201, 63]))
def test_no_datagram_raises_or_counts_as_authentic(data: bytes, first: int, second: int) -> None:
    _, bob = pair(CODEC)
    assert not bob.receive_untrusted(bytes((first, second)) + data, 0)
    assert bob.stats.packets_received == 0


def test_every_truncation_of_real_datagrams_is_refused() -> None:
    alice, bob = pair(CODEC)
    report = alice.poll_rtcp(10_000 * MS)
    assert report is not None
    for datagram in (pushed(alice, FRAMES[0], 0), report):
        for length in range(len(datagram)):
            assert not bob.receive_untrusted(datagram[:length], 0)
        assert bob.receive_untrusted(datagram, 0)


def test_authentic_nonsense_is_alive_but_malformed() -> None:
    far = Stranger()
    assert far.path.receive_untrusted(far.srtp.protect(b"\xa0\x6f" + bytes(10)), 0)  # padding without length
    assert far.rtp(1, 0, payload=b"\x4b")
    assert far.rtcp(bytes.fromhex("9fc90001 00000001"), 0)
    assert far.path.stats.malformed == 3
    assert far.path.pull(0) is None


def test_other_payload_types_are_ignored_but_are_no_loss() -> None:
    far = Stranger()
    for number in range(50):
        assert far.rtp(number, number * FRAME_NS, payload_type=126 if number % 10 == 5 else 111)
        far.path.pull(number * FRAME_NS + MS)
    assert (far.path.stats.ignored, far.path.stats.lost) == (5, 0)


def test_a_second_ssrc_waits_until_the_first_is_silent() -> None:
    far = Stranger()
    for number in range(20):
        assert far.rtp(number, number * FRAME_NS, ssrc=7)
        assert far.rtp(30_000 + number, number * FRAME_NS, ssrc=8)
    assert far.path.stats.ignored == 20
    assert far.path.stats.packets_received == 40
    then_ns = 19 * FRAME_NS + SSRC_TAKEOVER_SILENCE_NS
    for number in range(20):
        assert far.rtp(30_020 + number, then_ns + number * FRAME_NS, ssrc=8)
        far.path.pull(then_ns + number * FRAME_NS + MS)
    stats = far.path.stats
    assert (stats.ignored, stats.lost, stats.concealed_frames) == (20, 0, 0)


def odd_stamps(name: str) -> list[int]:
    """RTP timestamps of 20 ms packets, by how a sender's clock goes wrong."""
    chance, count = random.Random(name), len(SPOKEN)
    near = [chance.choice((959, 960, 961)) for _ in range(count)]
    far = [960 + chance.randint(-12, 12) for _ in range(count)]
    return {
        "1 tick": list(itertools.accumulate(near)),
        "12 ticks": list(itertools.accumulate(far)),
        "12 ticks around the right time": [n * 960 + chance.randint(-12, 12) for n in range(count)],
        "whole milliseconds of a clock": [int(n * 20.003 + chance.random()) * 48 for n in range(count)],
        "953": [n * 953 for n in range(count)],
        "967": [n * 967 for n in range(count)],
        "a timer that is late by up to 12 ms": [n * 960 + chance.randrange(576) for n in range(count)],
    }[name]


def receive_stamped(stamps: list[int], *, jitter_ms: float = 0.0) -> tuple[Stranger, NDArray[np.int16]]:
    """The speech with these timestamps over a network with jitter, and what is heard of it."""
    far, heard, chance = Stranger(), [], random.Random(2)
    sent = sorted(
        (number * FRAME_NS + int(chance.uniform(0, jitter_ms) * MS), number) for number in range(len(SPOKEN))
    )
    for pull_ns in range(3 * MS, len(SPOKEN) * FRAME_NS, FRAME_NS):
        while sent and sent[0][0] <= pull_ns:
            now_ns, number = sent.pop(0)
            assert far.rtp(number, now_ns, timestamp=stamps[number], payload=SPOKEN[number])
        heard.append(far.path.pull(pull_ns) or b"")
    return far, np.frombuffer(b"".join(heard), "<i2")


@pytest.mark.parametrize("jitter_ms", [0, 12])
@pytest.mark.parametrize(
    "name",
    [
        "1 tick",
        "12 ticks",
        "12 ticks around the right time",
        "whole milliseconds of a clock",
        "953",
        "967",
        "a timer that is late by up to 12 ms",
    ],
)
def test_odd_timestamps_are_counted_and_every_packet_is_heard(name: str, jitter_ms: int) -> None:
    far, audio = receive_stamped(odd_stamps(name), jitter_ms=jitter_ms)
    stats = far.path.stats
    assert (stats.ignored, stats.late, stats.discarded, stats.lost) == (0, 0, 0, 0)
    assert stats.concealed_frames <= 1  # jitter may find the buffer a packet short at the start
    assert stats.odd_timestamps + stats.foreign_timestamps > 80
    assert find(DECODED[24 * 1000 : 24 * 4000], audio).likeness > 0.99


@pytest.mark.parametrize("jitter_ms", [0, 12])
@pytest.mark.parametrize("clock", [8_000, 12_000, 16_000, 24_000, 44_100, 90_000])
def test_timestamps_of_another_clock_are_named_and_every_packet_is_heard(clock: int, jitter_ms: int) -> None:
    stamps = [2**32 - 1000 + number * clock // 50 for number in range(len(SPOKEN))]
    far, audio = receive_stamped(stamps, jitter_ms=jitter_ms)
    stats = far.path.stats
    assert (stats.ignored, stats.late, stats.discarded, stats.lost) == (0, 0, 0, 0)
    assert stats.concealed_frames <= 1
    assert stats.foreign_timestamps > 230
    assert stats.shortened_frames + stats.lengthened_frames <= 4
    assert find(DECODED[24 * 1000 : 24 * 4000], audio).likeness > 0.99
    assert stats.buffer_ms < 45


def test_right_timestamps_are_not_counted() -> None:
    far, _ = receive_stamped([2**32 - 1000 + number * 960 for number in range(len(SPOKEN))], jitter_ms=50)
    assert (far.path.stats.odd_timestamps, far.path.stats.foreign_timestamps) == (0, 0)


@pytest.mark.parametrize("gap_ms", [1, 20, 40, 100, 199])
def test_a_stream_that_goes_on_under_another_ssrc_is_heard_without_a_gap(gap_ms: int) -> None:
    """As when a track is replaced: another SSRC, and other sequence numbers and timestamps with it."""
    far, heard = Stranger(), []
    moved_ns = gap_ms * MS - FRAME_NS
    sent = [(number * FRAME_NS + (moved_ns if number >= 50 else 0), number) for number in range(100)]
    for pull_ns in range(3 * MS, 103 * FRAME_NS, FRAME_NS):
        while sent and sent[0][0] <= pull_ns:
            now_ns, number = sent.pop(0)
            start, ssrc = (0, 1001) if number < 50 else (40_000, 1002)
            assert far.rtp(start + number, now_ns, ssrc=ssrc, payload=SPOKEN[number])
        heard.append(far.path.pull(pull_ns) or b"")
    stats = far.path.stats
    assert (stats.ignored, stats.lost, stats.late) == (0, 0, 0)
    audio = np.frombuffer(b"".join(heard), "<i2")
    assert find(SOURCE[24 * 600 : 24 * 960], audio).likeness > 0.9
    assert find(SOURCE[24 * 1020 : 24 * 1400], audio).likeness > 0.9


def test_video_of_the_same_client_never_becomes_the_caller() -> None:
    far = Stranger()
    for number in range(20):
        assert far.rtp(number, number * FRAME_NS, ssrc=8, payload_type=96, payload=b"video")
    far.rtp(1, 20 * FRAME_NS, ssrc=7)
    far.rtp(2, 21 * FRAME_NS, ssrc=7)
    assert (far.path.stats.ignored, far.path.stats.malformed) == (20, 0)
    assert far.path.pull(22 * FRAME_NS) is not None


def test_the_goodbye_of_a_stream_lets_the_next_one_in_with_its_first_packet() -> None:
    far = Stranger()
    far.rtp(1, 0, ssrc=7)
    far.rtcp(build_rtcp(Bye((7,))), MS)
    far.rtp(9, 2 * MS, ssrc=8)
    far.rtp(2, 3 * MS, ssrc=7)  # a straggler
    assert far.path.stats.ignored == 0
    far.rtp(10, 22 * MS, ssrc=8)
    assert far.path.stats.ignored == 1


def test_a_restarted_sender_is_heard_again() -> None:
    far, now_ns = Stranger(), 0
    heard = 0
    for start in (100, 40_000, 9):
        for number in range(start, start + 50):
            now_ns += FRAME_NS
            far.rtp(number, now_ns)
            heard += far.path.pull(now_ns + MS) is not None
        now_ns += SSRC_TAKEOVER_SILENCE_NS
    assert heard > 140
    assert far.path.stats.late == 0
    assert far.path.stats.concealed_frames < 10


def test_bye_of_the_caller_is_noticed_and_of_others_is_not() -> None:
    far = Stranger()
    far.rtp(1, 0)
    far.rtcp(build_rtcp(Bye((8,))), 0)
    assert not far.path.remote_left
    far.rtcp(build_rtcp(Bye((7,))), 0)
    assert far.path.remote_left


def test_our_bye_reaches_the_far_end() -> None:
    alice, bob = pair(CODEC)
    bob.receive_untrusted(pushed(alice, None, 0), 0)
    assert bob.receive_untrusted(alice.bye(), 0)
    assert bob.remote_left


def test_reported_loss_turns_fec_on_and_calm_turns_it_down() -> None:
    far = Stranger()
    block = ReportBlock(0x0AA, 64, 10, 0, 0, 0, 0)
    far.rtcp(build_rtcp(ReceiverReport(7, (block,))), 0)
    assert far.path.stats.remote_fraction_lost == 0.25
    for _ in range(20):
        far.rtcp(build_rtcp(ReceiverReport(7, (block._replace(fraction_lost=0),))), 0)
    assert far.path.stats.remote_fraction_lost < 0.001


def test_reports_about_others_are_not_about_us() -> None:
    far = Stranger()
    far.rtcp(build_rtcp(ReceiverReport(7, (ReportBlock(0x0BB, 64, 10, 0, 0, 1, 1),))), 0)
    assert (far.path.stats.remote_lost, far.path.stats.rtt_ms) == (0, None)


def test_complexity_follows_the_load() -> None:
    wanted = [5]
    path = AudioPath(
        SrtpKeys(PROFILE, bytearray(30), bytearray(30)), CODEC, 1, "us", 0, complexity=lambda: wanted[0]
    )
    wanted[0] = 0
    for now_ns in range(0, 3000 * MS, FRAME_NS):
        path.poll_rtcp(now_ns)
    assert path.stats.complexity == 0


def test_the_peers_bitrate_wish_is_kept() -> None:
    sizes = {}
    for bitrate in (None, 12_000, 1):
        alice, _bob = converse(
            (FRAMES[:100], QUIET[:100]), codec=AudioCodec(111, max_average_bitrate=bitrate)
        )
        sizes[bitrate] = alice.path.stats.bytes_sent
    assert sizes[None] > sizes[12_000] > sizes[1]


def test_packets_carry_the_negotiated_payload_type_and_our_ssrc() -> None:
    keys = bytes(range(30)), bytes(range(100, 130))
    path = AudioPath(SrtpKeys(PROFILE, *map(bytearray, keys)), AudioCodec(109), 0xFEEDBEEF, "us", 0)
    data = Srtp(SrtpKeys(PROFILE, *map(bytearray, keys[::-1]))).unprotect_untrusted(pushed(path, None, 0))
    assert data is not None
    packet = parse_rtp_untrusted(data)
    assert (packet.payload_type, packet.ssrc) == (109, 0xFEEDBEEF)


def test_close_is_final_but_stats_stay() -> None:
    _, bob = converse((FRAMES[:50], QUIET[:50]))
    bob.path.close()
    assert bob.path.stats.packets_received == 50


def test_every_member_of_the_statistics_is_a_counter_or_a_gauge_and_starts_like_one() -> None:
    stats = PathStats()
    assert sorted(COUNTERS + GAUGES) == sorted(field.name for field in fields(PathStats))
    assert all(type(getattr(stats, name)) is int and getattr(stats, name) == 0 for name in COUNTERS)

"""What goes out, talking and not."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from tests.sound import find, frames, speech
from transceiver.media import FRAME_BYTES, FRAME_MS, RTP_FRAME_TICKS
from transceiver.media.codec import PACKET_MS
from transceiver.media.opus import Decoder, Encoder, packet_ticks
from transceiver.media.rtp import RtpPacket, parse_rtp_untrusted
from transceiver.media.sender import TAIL_FRAMES, Sender, silent_packet


def sender(sequence: int = 65530, timestamp: int = 2**32 - 2000, packet_ms: int = FRAME_MS) -> Sender:
    """A stream about to wrap both of its counters."""
    encoder = Encoder(28_000, complexity=5, fec=True, dtx=False)
    return Sender(111, 7, sequence, timestamp, encoder, packet_ms)


def send(stream: Sender, says: Sequence[bytes | None]) -> list[RtpPacket]:
    """The packets of these ticks."""
    packets = [stream.next_packet(pcm) for pcm in says]
    return [parse_rtp_untrusted(packet) for packet in packets if packet is not None]


def send_all(stream: Sender, says: list[bytes | None]) -> list[RtpPacket]:
    """The packets of these ticks, whatever their length."""
    packets = [packet for pcm in says for packet in (stream.next_packet(pcm), stream.second_packet())]
    return [parse_rtp_untrusted(packet) for packet in packets if packet is not None]


def test_numbers_go_on_through_speech_silence_and_wraps() -> None:
    packets = send(sender(), [*frames(speech())[:10], *[None] * 20, *frames(speech())[:10]])
    assert [p.sequence for p in packets] == [(65530 + n) % 65536 for n in range(40)]
    assert [p.timestamp for p in packets] == [(2**32 - 2000 + n * RTP_FRAME_TICKS) % 2**32 for n in range(40)]
    assert {(p.ssrc, p.payload_type) for p in packets} == {(7, 111)}


def test_the_marker_starts_each_talk_spurt() -> None:
    spurt = frames(speech())[:10]
    packets = send(sender(), [None, None, *spurt, *[None] * TAIL_FRAMES, *spurt, None, *spurt])
    assert [n for n, packet in enumerate(packets) if packet.marker] == [2, 2 + 10 + TAIL_FRAMES]


def test_silence_is_encoded_briefly_and_then_constant_and_small() -> None:
    stream = sender()
    packets = send(stream, [*frames(speech())[:50], *[None] * 50])
    assert stream.encoded_frames == 50 + TAIL_FRAMES
    constant = {packet.payload for packet in packets[50 + TAIL_FRAMES :]}
    assert constant == {silent_packet()}
    assert len(silent_packet()) < 10
    assert packet_ticks(silent_packet()) == RTP_FRAME_TICKS


def test_decoded_silence_is_silent_and_speech_after_it_whole() -> None:
    packets = send(sender(), [*frames(speech()), *[None] * 50, *frames(speech())])
    decoder = Decoder()
    heard = np.frombuffer(b"".join(decoder.decode(packet.payload) for packet in packets), "<i2")
    pause = heard[len(speech()) + 480 * 5 : len(speech()) + 480 * 48]
    assert np.abs(pause).max() <= 2
    again = find(speech()[4800:24000], heard[len(speech()) + 480 * 40 :])
    assert again.likeness > 0.9


def test_octets_are_payload_bytes() -> None:
    stream = sender()
    packets = send(stream, frames(speech())[:10])
    assert (stream.packets, stream.octets) == (10, sum(len(packet.payload) for packet in packets))


def test_a_frame_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="960"):
        sender().next_packet(bytes(FRAME_BYTES - 2))


@pytest.mark.parametrize("packet_ms", PACKET_MS)
def test_packets_last_as_long_as_asked_for_and_numbers_follow(packet_ms: int) -> None:
    stream = sender(packet_ms=packet_ms)
    speech_frames = frames(speech())[:30]
    packets = send_all(stream, [*speech_frames, *[None] * 30, *speech_frames])
    ticks = packet_ms * 48
    assert len(packets) == 90 * FRAME_MS // packet_ms
    assert {packet_ticks(packet.payload) for packet in packets} == {ticks}
    assert [p.sequence for p in packets] == [(65530 + n) % 65536 for n in range(len(packets))]
    assert [p.timestamp for p in packets] == [(2**32 - 2000 + n * ticks) % 2**32 for n in range(len(packets))]
    assert [p.marker for p in packets].count(True) == 2
    assert stream.timestamp == (2**32 - 2000 + 90 * RTP_FRAME_TICKS) % 2**32
    assert (stream.packets, stream.octets) == (len(packets), sum(len(p.payload) for p in packets))


@pytest.mark.parametrize("packet_ms", PACKET_MS)
def test_packets_of_every_length_carry_the_speech_and_cost_nothing_in_silence(packet_ms: int) -> None:
    stream = sender(packet_ms=packet_ms)
    packets = send_all(stream, [*frames(speech()), *[None] * 60])
    decoder = Decoder()
    heard = np.frombuffer(b"".join(decoder.decode(packet.payload) for packet in packets), "<i2")
    assert find(speech()[4800:24000], heard).likeness > 0.9
    assert {packet.payload for packet in packets[-10:]} == {silent_packet(packet_ms)}
    assert len(silent_packet(packet_ms)) <= 16
    assert stream.encoded_frames <= (len(frames(speech())) + TAIL_FRAMES) * FRAME_MS / packet_ms + 1


def test_ticks_are_gathered_and_what_is_gathered_counts_as_media_time() -> None:
    """A sender report tells the media time of now, and not of the last packet."""
    stream = sender(timestamp=0, packet_ms=60)
    spoken = frames(speech())[:6]
    told = []
    for pcm in spoken:
        packet = stream.next_packet(pcm)
        told.append((packet is not None, stream.timestamp // RTP_FRAME_TICKS))
    assert told == [(False, 1), (False, 2), (True, 3), (False, 4), (False, 5), (True, 6)]


def test_a_talk_spurt_may_begin_in_the_middle_of_a_packet() -> None:
    stream = sender(packet_ms=60)
    [packet] = send_all(stream, [None, None, frames(speech())[20]])
    assert packet.marker
    assert packet.payload != silent_packet(60)


def test_a_second_packet_whose_turn_was_missed_is_left_out() -> None:
    stream = sender(sequence=1, timestamp=0, packet_ms=10)
    spoken = frames(speech())[:2]
    first = [stream.next_packet(pcm) for pcm in spoken]
    packets = [parse_rtp_untrusted(p) for p in (*first, stream.second_packet()) if p is not None]
    assert stream.second_packet() is None
    assert [(p.sequence, p.timestamp) for p in packets] == [(1, 0), (2, 960), (3, 1440)]


def test_only_packets_of_10_ms_have_a_second() -> None:
    for packet_ms in PACKET_MS[1:]:
        stream = sender(packet_ms=packet_ms)
        stream.next_packet(None)
        assert stream.second_packet() is None

"""What goes out, talking and not."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from tests.sound import find, frames, speech
from transceiver.media import FRAME_BYTES, RTP_FRAME_TICKS
from transceiver.media.opus import Decoder, Encoder, packet_ticks
from transceiver.media.rtp import RtpPacket, parse_rtp_untrusted
from transceiver.media.sender import TAIL_FRAMES, Sender, silent_packet


def sender(sequence: int = 65530, timestamp: int = 2**32 - 2000) -> Sender:
    """A stream about to wrap both of its counters."""
    return Sender(111, 7, sequence, timestamp, Encoder(28_000, complexity=5, fec=True, dtx=False))


def send(stream: Sender, says: Sequence[bytes | None]) -> list[RtpPacket]:
    """The packets of these ticks."""
    return [parse_rtp_untrusted(stream.next_packet(pcm)) for pcm in says]


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

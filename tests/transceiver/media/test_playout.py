"""Playout: what a listener gets from packets of real encoders, whole, lost, paused, of any length."""

from __future__ import annotations

import ctypes
from collections.abc import Set

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.sound import Samples, find, frames, noise, silence, speech
from transceiver.media import FRAME_BYTES, FRAME_NS, FRAME_SAMPLES, RTP_FRAME_TICKS, opus
from transceiver.media.opus import Encoder
from transceiver.media.playout import MAX_CONCEALED, Playout, is_quiet, merge

MS = 1_000_000


def encode(pcm: Samples, *, dtx: bool = False, fec: bool = True) -> list[bytes]:
    """One packet per 20 ms."""
    encoder = Encoder(28_000, complexity=5, fec=fec, dtx=dtx)
    encoder.set_expected_loss(20)
    return [encoder.encode(frame) for frame in frames(pcm)]


def encode_long(pcm: Samples, frame_ms: int) -> list[bytes]:
    """Packets of any duration that Opus has, from the same library."""
    encoder = Encoder(28_000, complexity=5, fec=True, dtx=False)
    library, buffer = opus._library(), ctypes.create_string_buffer(1500)
    size = 24 * frame_ms
    packets = []
    for start in range(0, len(pcm) - size + 1, size):
        frame = pcm[start : start + size].astype("<i2").tobytes()
        length = library.opus_encode(encoder._state, frame, size, ctypes.addressof(buffer), 1500)
        packets.append(buffer.raw[:length])
    return packets


def listen(
    packets: list[bytes], lost: Set[int] = frozenset(), *, ticks: int = RTP_FRAME_TICKS
) -> tuple[Playout, Samples]:
    """Play a stream that arrives on time but for what is lost, until its end."""
    playout, heard, sent = Playout(), [], 0
    for pull in range(len(packets) * ticks // RTP_FRAME_TICKS + 1):
        while sent < len(packets) and sent * ticks // 48 <= pull * 20:
            if sent not in lost:
                playout.insert(sent, sent * ticks, packets[sent], sent * ticks // 48 * MS)
            sent += 1
        heard.append(playout.pull(pull * FRAME_NS + 5 * MS) or b"")
    assert all(len(pcm) in (0, FRAME_BYTES) for pcm in heard)
    return playout, np.frombuffer(b"".join(heard), "<i2")


def test_nothing_before_the_first_packet_and_its_headroom() -> None:
    playout = Playout()
    assert playout.pull(0) is None
    playout.insert(0, 77, encode(speech()[:480])[0], FRAME_NS)
    assert playout.pull(FRAME_NS) is None
    assert playout.pull(2 * FRAME_NS) is not None


def test_speech_is_heard() -> None:
    _, heard = listen(encode(speech()))
    assert find(speech()[4800:24000], heard).likeness > 0.9


@pytest.mark.parametrize("frame_ms", [10, 20, 40, 60])
def test_packets_of_any_length_are_heard(frame_ms: int) -> None:
    playout, heard = listen(encode_long(speech(), frame_ms), ticks=48 * frame_ms)
    assert find(speech()[4800:24000], heard).likeness > 0.9
    assert playout.concealed_frames <= 1


@pytest.mark.parametrize("frame_ms", [20, 40, 60])
def test_fec_covers_packets_of_any_length(frame_ms: int) -> None:
    encoder_frames = encode_long(speech(), frame_ms)
    playout, heard = listen(encoder_frames, {10}, ticks=48 * frame_ms)
    assert playout.fec_frames + playout.concealed_frames >= 1
    assert find(speech()[4800:24000], heard).likeness > 0.8


def test_loss_is_repaired_by_fec_and_time_goes_on() -> None:
    lost = set(range(5, 90, 7))
    playout, heard = listen(encode(speech()), lost)
    assert playout.fec_frames >= 0.7 * len(lost)
    match = find(speech()[4800:24000], heard)
    assert match.likeness > 0.8
    assert match.at_ms == pytest.approx(200 + 6.5, abs=0.3)


def test_concealment_ends_in_silence() -> None:
    packets = encode(np.resize(speech(), 48_000))
    playout, heard = listen(packets, set(range(50, 80)))
    gap = heard[50 * FRAME_SAMPLES : 78 * FRAME_SAMPLES]
    assert np.any(gap[: 2 * FRAME_SAMPLES])
    assert not np.any(gap[(MAX_CONCEALED + 1) * FRAME_SAMPLES :])
    assert playout.concealed_frames >= 29


def test_dtx_is_silence_not_loss() -> None:
    """A sender with DTX: packets of one byte are not sent but for one in 400 ms, timestamps go on."""
    pcm = np.concatenate((speech(), silence(2000), speech()))
    packets = encode(pcm, dtx=True, fec=False)
    playout, heard, sequence = Playout(), [], 0
    for number, packet in enumerate(packets):
        if len(packet) > 2 or number % 20 == 0:
            playout.insert(sequence, number * RTP_FRAME_TICKS, packet, number * FRAME_NS)
            sequence += 1
        heard.append(playout.pull(number * FRAME_NS + 5 * MS) or b"")
    samples = np.frombuffer(b"".join(heard), "<i2")
    assert sequence < len(packets) - 60
    first, second = (
        find(speech()[4800:24000], samples[: len(samples) // 2]),
        find(speech()[4800:24000], samples[len(samples) // 2 :]),
    )
    assert first.likeness > 0.9
    assert second.likeness > 0.9
    assert playout.shortened_frames == playout.lengthened_frames == 0


def test_a_payload_that_is_not_opus_is_concealed_and_counted() -> None:
    packets = encode(speech())
    packets[30] = b"\x4b\xff\xff"
    packets[40] = b""
    playout, heard = listen(packets)
    assert playout.malformed == 2
    assert find(speech()[4800:24000], heard).likeness > 0.8


def test_surplus_delay_goes_in_pauses_first() -> None:
    """300 ms arrive late, between sentences; what the delay grew by is taken back."""
    pcm = np.concatenate((speech(), silence(500), speech(), silence(500), speech()))
    packets, playout, heard = encode(pcm), Playout(), []
    arrivals = [max(n * FRAME_NS, 2300 * MS if 2000 <= n * 20 < 2300 else 0) for n in range(len(packets))]
    sent = 0
    for pull in range(len(packets)):
        now_ns = pull * FRAME_NS + 5 * MS
        while sent < len(packets) and arrivals[sent] <= now_ns:
            playout.insert(sent, sent * RTP_FRAME_TICKS, packets[sent], arrivals[sent])
            sent += 1
        heard.append(playout.pull(now_ns) or b"")
    assert playout.shortened_frames > 10
    samples = np.frombuffer(b"".join(heard), "<i2")
    third = find(speech()[4800:24000], samples[-len(speech()) - 4800 :])
    assert third.likeness > 0.9


def test_merge_begins_as_the_first_and_ends_as_the_second() -> None:
    first, second = frames(noise(20, 3000, seed=1))[0], frames(noise(20, 3000, seed=2))[0]
    merged = np.frombuffer(merge(first, second), "<i2").astype(int)
    assert len(merged) == FRAME_SAMPLES
    assert merged[0] == np.frombuffer(first, "<i2")[0]
    assert merged[-1] == np.frombuffer(second, "<i2")[-1]


def test_merging_full_scale_does_not_overflow() -> None:
    loudest = np.full(FRAME_SAMPLES, -32768, "<i2").tobytes()
    assert merge(loudest, loudest) == loudest


def test_quiet_is_a_level() -> None:
    assert is_quiet(bytes(FRAME_BYTES))
    assert is_quiet(frames(noise(20, 100))[0])
    assert not is_quiet(frames(noise(20, 400))[0])


@given(
    st.lists(
        st.tuples(
            st.integers(0, 65535), st.integers(0, 2**32 - 1) | st.integers(0, 9600), st.binary(max_size=40)
        ),
        max_size=40,
    )
)
def test_whatever_comes_a_pull_is_a_frame(packets: list[tuple[int, int, bytes]]) -> None:
    playout = Playout()
    for index, (sequence, timestamp, payload) in enumerate(packets):
        playout.insert(sequence, timestamp, payload, index * 7 * MS)
        pcm = playout.pull(index * FRAME_NS)
        assert pcm is None or len(pcm) == FRAME_BYTES
        assert len(playout._pcm) < 120 * 48

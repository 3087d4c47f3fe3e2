"""The libopus binding, on recorded speech."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import UnavailableError
from tests.sound import Samples, find, frames, speech
from transceiver.media import FRAME_BYTES, FRAME_SAMPLES, SAMPLE_RATE, opus
from transceiver.media.opus import (
    LOOKAHEAD_NS,
    Decoder,
    Encoder,
    OpusError,
    has_fec,
    library_version,
    packet_ticks,
)


def encode(*, bitrate: int = 28_000, fec: bool = True, loss: int = 0, dtx: bool = False) -> list[bytes]:
    """The test sentence, one packet per frame."""
    encoder = Encoder(bitrate, complexity=5, fec=fec, dtx=dtx)
    encoder.set_expected_loss(loss)
    return [encoder.encode(frame) for frame in frames(speech())]


def samples(*pcm: bytes) -> Samples:
    """Frames put together."""
    return np.frombuffer(b"".join(pcm), "<i2")


def level(pcm: bytes) -> float:
    """Root mean square."""
    return float(np.sqrt(np.mean(samples(pcm).astype(float) ** 2)))


def test_speech_survives_and_is_late_by_the_look_ahead() -> None:
    decoder = Decoder()
    decoded = samples(*map(decoder.decode, encode()))
    match = find(speech()[4800:24000], decoded)
    assert match.likeness > 0.9
    assert match.at_ms == pytest.approx(200 + 6.5, abs=0.2)


@pytest.mark.parametrize("bitrate", [6_000, 16_000, 28_000])
def test_bitrate_is_kept(bitrate: int) -> None:
    packets = encode(bitrate=bitrate)
    measured = sum(map(len, packets)) * 8 * 50 / len(packets)
    assert measured == pytest.approx(bitrate, rel=0.25)


def test_complexity_changes_what_is_encoded() -> None:
    encoder = Encoder(28_000, complexity=5, fec=False, dtx=False)
    encoder.set_complexity(0)
    assert [encoder.encode(frame) for frame in frames(speech())] != encode(fec=False)


def test_dtx_makes_silence_one_byte() -> None:
    encoder = Encoder(28_000, complexity=5, fec=False, dtx=True)
    assert min(len(encoder.encode(bytes(FRAME_BYTES))) for _ in range(50)) == 1


def test_fec_is_there_only_when_loss_is_expected() -> None:
    assert sum(map(has_fec, encode(loss=15))) > 40
    assert not any(map(has_fec, encode(loss=0)))
    assert not any(map(has_fec, encode(fec=False, loss=15)))


@pytest.mark.parametrize("loss", [0, 15, 30])
def test_fec_flags_are_read_as_libopus_reads_them(loss: int) -> None:
    library = opus._library()
    if not hasattr(library, "opus_packet_has_lbrr"):
        pytest.skip("this libopus is older than 1.4")
    for packet in encode(loss=loss):
        assert has_fec(packet) == bool(library.opus_packet_has_lbrr(packet, len(packet)))


def test_fec_brings_a_lost_frame_back_better_than_concealment() -> None:
    packets, lost = encode(loss=25), 30
    errors = {}
    for way in ("whole", "fec", "plc"):
        decoder = Decoder()
        for packet in packets[:lost]:
            decoder.decode(packet)
        errors[way] = {
            "whole": lambda d: d.decode(packets[lost]),
            "fec": lambda d: d.decode_fec(packets[lost + 1], FRAME_SAMPLES),
            "plc": lambda d: d.conceal(FRAME_SAMPLES),
        }[way](decoder)
    original = samples(errors.pop("whole")).astype(float)
    distance = {way: float(np.linalg.norm(samples(pcm) - original)) for way, pcm in errors.items()}
    assert distance["fec"] < 0.7 * distance["plc"]


def test_concealment_fades() -> None:
    decoder = Decoder()
    for packet in encode()[:30]:
        decoder.decode(packet)
    levels = [level(decoder.conceal(FRAME_SAMPLES)) for _ in range(8)]
    assert levels[0] > 2 * levels[4] > 4 * levels[7]


def test_reset_forgets() -> None:
    decoder = Decoder()
    for packet in encode()[:30]:
        decoder.decode(packet)
    decoder.reset()
    assert level(decoder.conceal(FRAME_SAMPLES)) == 0


@pytest.mark.parametrize("packet", [b"", b"\x03", b"\x4b\x00", b"\x48" + bytes(1300), b"\x49\x01"])
def test_what_is_not_opus_is_an_error_that_says_so(packet: bytes) -> None:
    with pytest.raises(OpusError, match=r"packet|corrupted|argument"):
        Decoder().decode(packet)


@given(st.binary(min_size=1, max_size=200))
def test_any_bytes_decode_to_their_duration_or_are_refused(packet: bytes) -> None:
    try:
        pcm = Decoder().decode(packet)
    except OpusError:
        return
    assert len(pcm) == packet_ticks(packet)


def test_every_truncation_of_a_packet_decodes_or_is_refused() -> None:
    packet = max(encode(), key=len)
    decoder = Decoder()
    for length in range(len(packet)):
        try:
            assert len(decoder.decode(packet[:length])) == FRAME_BYTES
        except OpusError:
            assert length == 0


@given(st.integers(0, 31), st.integers(0, 7), st.integers(0, 255))
def test_durations_are_those_of_libopus(config: int, low_bits: int, second: int) -> None:
    packet = bytes((config << 3 | low_bits, second)) + bytes(48 * 2)
    theirs = opus._library().opus_packet_get_nb_samples(packet, len(packet), 48_000)
    assert packet_ticks(packet) == max(theirs, 0)


@pytest.mark.parametrize("length", [0, 1, FRAME_BYTES - 2, FRAME_BYTES + 2])
def test_a_frame_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(ValueError, match="a frame is 960 bytes"):
        Encoder(28_000, complexity=5, fec=True, dtx=False).encode(bytes(length))


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(OpusError, match="invalid argument"):
        Encoder(28_000, complexity=11, fec=True, dtx=False)


def test_closing_twice_is_harmless_and_use_after_it_an_error_not_a_crash() -> None:
    decoder, encoder = Decoder(), Encoder(28_000, complexity=0, fec=False, dtx=False)
    for codec in (decoder, encoder, decoder, encoder):
        codec.close()
    for use in (
        lambda: decoder.decode(encode()[0]),
        lambda: decoder.conceal(FRAME_SAMPLES),
        decoder.reset,
        lambda: encoder.encode(bytes(FRAME_BYTES)),
        lambda: encoder.set_complexity(5),
    ):
        with pytest.raises(ValueError, match="closed"):
            use()


def test_the_look_ahead_is_what_the_library_says() -> None:
    encoder, samples = Encoder(28_000, complexity=5, fec=True, dtx=False), ctypes.c_int32()
    get_lookahead = 4027
    assert opus._library().opus_encoder_ctl(encoder._state, get_lookahead, ctypes.byref(samples)) == 0
    assert samples.value * 1_000_000_000 // SAMPLE_RATE == LOOKAHEAD_NS


def test_library_says_its_version() -> None:
    assert library_version().startswith("libopus 1.")


def test_without_libopus_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    opus._library.cache_clear()
    monkeypatch.setattr(opus, "_candidates", lambda: ["/nonexistent/libopus.so.0", "libc.so.6"])
    try:
        with pytest.raises(UnavailableError, match=r"libopus0.*/nonexistent.*opus_encoder_create"):
            Decoder()
    finally:
        opus._library.cache_clear()


def test_the_bundled_library_comes_before_the_systems() -> None:
    *bundled, system = opus._candidates()
    assert system == "libopus.so.0"
    assert all("av.libs" in path for path in bundled)


def test_finding_the_library_does_not_load_pyav() -> None:
    script = (
        "import sys; from transceiver.media.opus import library_version; library_version(); "
        "sys.exit('av' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0

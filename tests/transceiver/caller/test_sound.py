"""Recordings of every usual kind come out as the same 24 kHz mono frames."""

from __future__ import annotations

import contextlib
import struct
import wave
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests import tones
from transceiver.caller import sound
from transceiver.caller.settings import QUICK_SILENCE_MS
from transceiver.media import FRAME_BYTES, FRAME_SAMPLES, SAMPLE_RATE


def write(path: Path, samples: NDArray[np.float64], rate: int, width: int = 2) -> None:
    """`samples`: floats in ±1, one column per channel."""
    scale = 2 ** (8 * width - 1) - 1
    integers = np.round(samples * scale).astype("<i4")
    raw = integers.astype("<i4").tobytes()
    packed = b"".join(raw[i : i + width] for i in range(0, len(raw), 4))
    with wave.open(str(path), "wb") as file:
        file.setnchannels(samples.shape[1])
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(packed)


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 24_000, 44_100, 48_000, 96_000])
@pytest.mark.parametrize(("channels", "width"), [(1, 2), (2, 2), (6, 2), (1, 3), (2, 4)])
def test_any_wav_keeps_its_tone_and_length(tmp_path: Path, rate: int, channels: int, width: int) -> None:
    time_s = np.arange(rate) / rate
    tone = 0.5 * np.sin(2 * np.pi * 1_000 * time_s)
    path = tmp_path / "tone.wav"
    write(path, np.repeat(tone[:, None], channels, axis=1), rate, width)
    frames = sound.read_frames(path)
    assert {len(f) for f in frames} == {FRAME_BYTES}
    assert abs(len(frames) - 50) <= 1
    heard = np.frombuffer(b"".join(frames), "<i2")[:SAMPLE_RATE]
    power = float(np.mean(heard[2400:-2400].astype(float) ** 2))
    assert tones.tone_power(heard[2400:-2400], 1_000.0) > 0.98 * power
    assert power > 0.05 * (0.5 * sound.FULL_SCALE) ** 2


def test_the_recording_that_comes_along_is_fit_for_its_purpose() -> None:
    frames = sound.read_frames(sound.default_recording())
    assert 1.5 <= len(frames) / 50 <= 4
    assert sound.default_recording().stat().st_size < 200_000
    assert sound.is_audible(frames[-1]) or sound.is_audible(frames[-2])
    pauses = "".join("." if sound.is_audible(f) else "_" for f in frames).split(".")
    assert max(map(len, pauses)) * 20 < QUICK_SILENCE_MS, "a pause would be taken for the end"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "No such file"),
        (b"", "not a sound file"),
        (b"RIFF" + bytes(40), "not a sound file"),
        (b"hello, I am a text" * 50, "not a sound file"),
    ],
)
def test_what_cannot_be_read_is_named_with_the_reason(
    tmp_path: Path, content: bytes | None, words: str
) -> None:
    path = tmp_path / "odd.wav"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(sound.SoundError, match=words) as caught:
        sound.read_frames(path)
    assert str(path) in str(caught.value)


def test_a_cut_off_file_is_read_as_far_as_it_goes_or_refused(tmp_path: Path) -> None:
    whole = sound.default_recording().read_bytes()
    for size in (10, 44, 45, 100, 2_000, len(whole) // 2):
        path = tmp_path / f"{size}.wav"
        path.write_bytes(whole[:size])
        with contextlib.suppress(sound.SoundError):  # and nothing else
            assert sound.read_frames(path)


def test_silence_is_refused_since_nobody_would_answer_it(tmp_path: Path) -> None:
    path = tmp_path / "silence.wav"
    write(path, np.zeros((24_000, 1)), 24_000)
    with pytest.raises(sound.SoundError, match="louder"):
        sound.read_frames(path)


def test_what_is_too_long_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    rate, seconds = 1_000, sound.MAX_RECORDING_S + 1
    write(path, np.full((rate * seconds, 1), 0.5), rate)
    with pytest.raises(sound.SoundError, match="longer than"):
        sound.read_frames(path)


@pytest.mark.parametrize(("amplitude", "level"), [(32_767, -3.01), (3_277, -23.01), (104, -53.0)])
def test_levels_are_those_of_a_sine(amplitude: int, level: float) -> None:
    time_s = np.arange(FRAME_SAMPLES) / SAMPLE_RATE
    pcm = (amplitude * np.sin(2 * np.pi * 500 * time_s)).round().astype("<i2").tobytes()
    assert sound.level_dbfs(pcm) == pytest.approx(level, abs=0.1)
    assert sound.is_audible(pcm) is (level > sound.AUDIBLE_DBFS)


def test_silence_has_no_level() -> None:
    assert sound.level_dbfs(sound.SILENCE) == float("-inf")


def test_what_is_written_reads_back(tmp_path: Path) -> None:
    frames = [struct.pack("<h", 1000 + i) * FRAME_SAMPLES for i in range(10)]
    sound.write_wav(tmp_path / "out.wav", frames)
    assert sound.read_frames(tmp_path / "out.wav") == frames


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(sound.SoundError, match=r"absent/out\.wav: cannot be written"):
        sound.write_wav(tmp_path / "absent" / "out.wav", [])

"""What is taken for speech."""

from __future__ import annotations

import numpy as np
import pytest

from tests.sound import Samples, frames, noise, silence, speech
from tests.tones import pitch, voice
from transceiver.media import FRAME_BYTES, SAMPLE_RATE
from transceiver.turns.vad import Decimator, SpeechDetector, aggressiveness, floor_dbfs

SETTLING_FRAMES = 10
"""The detector takes the onset of a steady noise for speech until its noise model has followed."""


def judged(samples: Samples, threshold: float = 0.5) -> list[bool]:
    detector = SpeechDetector(threshold)
    return [detector.judge(frame).is_speech for frame in frames(samples)]


def sine(hz: float, level: float, duration_ms: int = 2000) -> Samples:
    time_s = np.arange(SAMPLE_RATE * duration_ms // 1000) / SAMPLE_RATE
    return (level * np.sin(2 * np.pi * hz * time_s)).astype(np.int16)


@pytest.mark.parametrize("threshold", [0.0, 0.25, 0.5, 0.75])
def test_speech_is_speech(threshold: float) -> None:
    verdicts = judged(speech(), threshold)
    assert sum(verdicts) / len(verdicts) > 0.85


@pytest.mark.parametrize("threshold", [0.25, 0.5])
def test_speech_begins_at_its_first_frame_and_ends_with_its_last(threshold: float) -> None:
    before = frames(silence(400))
    verdicts = judged(np.concatenate((silence(400), speech(), silence(400))), threshold)
    assert verdicts.index(True) == len(before)
    last = len(verdicts) - 1 - verdicts[::-1].index(True)
    assert abs(last - (len(before) + len(frames(speech())) - 1)) <= 2


@pytest.mark.parametrize(
    ("name", "samples"),
    [
        ("digital silence", silence(2000)),
        ("a quiet room, -60 dBFS", noise(2000, 33)),
        ("speech at -60 dBFS", (speech() / 256).astype(np.int16)),
        ("a constant offset", np.full(SAMPLE_RATE, 50, np.int16)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_too_quiet_is_not_speech(name: str, samples: Samples) -> None:
    assert not any(judged(samples)), name


@pytest.mark.parametrize("rms", [300, 1000])
def test_steady_noise_is_speech_only_while_it_is_new(rms: float) -> None:
    assert not any(judged(noise(4000, rms))[SETTLING_FRAMES:])


def test_mains_hum_is_not_speech() -> None:
    assert not any(judged(sine(50, 3000))[SETTLING_FRAMES:])


def test_a_click_is_no_turn() -> None:
    click = silence(1000).copy()
    click[12_000:12_048] = 20_000
    assert sum(judged(click)) < 3


@pytest.mark.parametrize("index", range(50))
def test_every_test_voice_is_speech_throughout(index: int) -> None:
    padded = np.concatenate((silence(400), voice(pitch(index), 2.0), silence(400)))
    verdicts = judged(padded)
    assert all(verdicts[21:119])
    assert not any(verdicts[121:])


def test_speech_over_noise_is_found_again_after_it() -> None:
    noisy = noise(9000, 200).astype(int)
    words = speech()
    noisy[3 * SAMPLE_RATE : 3 * SAMPLE_RATE + len(words)] += words
    verdicts = judged(np.clip(noisy, -32768, 32767).astype(np.int16))
    assert not any(verdicts[SETTLING_FRAMES:148])
    assert sum(verdicts[150:246]) > 80
    assert not any(verdicts[260:])


@pytest.mark.parametrize(("threshold", "mode"), [(0.0, 0), (0.25, 1), (0.5, 2), (0.75, 3), (1.0, 3)])
def test_threshold_maps_to_the_detectors_modes(threshold: float, mode: int) -> None:
    assert aggressiveness(threshold) == mode


def test_a_higher_threshold_needs_louder_speech() -> None:
    assert floor_dbfs(0.5) == -45
    quiet = (speech() / 32).astype(np.int16)
    shares = [sum(judged(quiet, threshold)) for threshold in (0.0, 0.5, 1.0)]
    assert shares[0] > shares[1] > shares[2] == 0


def level_db(hz: float) -> float:
    """Level of a tone after decimation, relative to before."""
    decimator = Decimator()
    narrow = b"".join(decimator.push(frame) for frame in frames(sine(hz, 10_000)))
    samples = np.frombuffer(narrow, "<i2")[160:].astype(float)
    return float(20 * np.log10(np.sqrt(np.mean(samples**2)) * np.sqrt(2) / 10_000 + 1e-9))


@pytest.mark.parametrize("hz", [100, 440, 1000, 2000, 3000])
def test_decimation_keeps_the_speech_band(hz: float) -> None:
    assert abs(level_db(hz)) < 0.7


@pytest.mark.parametrize("hz", [4700, 6000, 7900, 9000, 11_900])
def test_decimation_folds_nothing_back(hz: float) -> None:
    assert level_db(hz) < -48


def test_decimation_is_seamless_across_frames() -> None:
    decimator = Decimator()
    narrow = np.frombuffer(b"".join(decimator.push(f) for f in frames(sine(500, 10_000))), "<i2")[160:]
    assert np.abs(np.diff(narrow.astype(int))).max() < 10_000 * 2 * np.pi * 500 / 8000 * 1.02


def test_full_scale_input_does_not_wrap_around() -> None:
    square = np.where(sine(300, 1000) >= 0, 32_767, -32_768).astype(np.int16)
    decimator = Decimator()
    narrow = np.frombuffer(b"".join(decimator.push(f) for f in frames(square)), "<i2").astype(int)
    assert np.abs(np.diff(narrow)).max() <= 65_535
    assert narrow.max() == 32_767
    assert np.mean(np.abs(narrow[160:]) > 16_000) > 0.9


def test_frame_sizes() -> None:
    assert len(Decimator().push(bytes(FRAME_BYTES))) == 320

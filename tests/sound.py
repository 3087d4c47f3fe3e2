"""PCM for tests: recorded speech, frames, and where in a recording a piece of speech is found."""

from __future__ import annotations

import wave
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from transceiver.media import FRAME_BYTES, FRAME_SAMPLES, SAMPLE_RATE

Samples = NDArray[np.int16]

SPEECH = Path(__file__).parent / "data" / "speech.wav"


def speech() -> Samples:
    """The test sentence, 24 kHz mono, without silence at its ends."""
    return read_wav(SPEECH)


def read_wav(path: Path) -> Samples:
    """A 24 kHz mono 16-bit WAV file."""
    with wave.open(str(path)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (SAMPLE_RATE, 1, 2)
        return np.frombuffer(file.readframes(file.getnframes()), "<i2")


def write_wav(path: Path, samples: Samples) -> None:
    """The same, the other way."""
    with wave.open(str(path), "wb") as file:
        file.setframerate(SAMPLE_RATE)
        file.setnchannels(1)
        file.setsampwidth(2)
        file.writeframes(samples.astype("<i2").tobytes())


def silence(duration_ms: int) -> Samples:
    """Digital silence."""
    return np.zeros(SAMPLE_RATE * duration_ms // 1000, np.int16)


def noise(duration_ms: int, rms: float, seed: int = 1) -> Samples:
    """White noise, the same for the same seed."""
    count = SAMPLE_RATE * duration_ms // 1000
    return np.random.default_rng(seed).normal(0, rms, count).astype(np.int16)


def frames(samples: Samples) -> list[bytes]:
    """Cut into frames, the last one filled up with silence."""
    padded = np.pad(samples, (0, -len(samples) % FRAME_SAMPLES))
    pcm = padded.astype("<i2").tobytes()
    return [pcm[start : start + FRAME_BYTES] for start in range(0, len(pcm), FRAME_BYTES)]


@dataclass(frozen=True, slots=True)
class Match:
    """Where a piece was found, and how alike the two are: 1.0 is the same but for loudness."""

    at_ms: float
    likeness: float


def find(needle: Samples, haystack: Samples) -> Match:
    """The best place of `needle` in `haystack`, by normalised cross-correlation."""
    if len(haystack) < len(needle):
        return Match(0.0, 0.0)
    likeness = _likeness(needle, haystack)
    best = int(np.argmax(likeness))
    return Match(best / SAMPLE_RATE * 1000, float(likeness[best]))


def _likeness(needle: Samples, haystack: Samples) -> NDArray[np.float64]:
    """How alike `needle` and its place are, for every place in `haystack`."""
    wanted = needle.astype(float) - needle.mean()
    heard = haystack.astype(float)
    size = 1 << (len(heard) + len(wanted)).bit_length()
    spectrum = np.fft.rfft(heard, size) * np.conj(np.fft.rfft(wanted, size))
    correlation = np.fft.irfft(spectrum, size)[: len(heard) - len(wanted) + 1]
    energy = np.concatenate(([0.0], np.cumsum(heard**2)))
    local = np.sqrt(np.maximum(energy[len(wanted) :] - energy[: -len(wanted)], 1.0))
    alike: NDArray[np.float64] = correlation / (local * np.linalg.norm(wanted))
    return alike


PIECE_MS, DRIFT_MS, STEP_MS = 200, 60, 10
"""Of pieces: their length; how much sooner or later than right after the one before a piece may come; how
finely their places are told apart."""


def likeness_in_pieces(needle: Samples, haystack: Samples) -> float:
    """As the likeness of `find`, for what a jitter buffer has played: it stretches and squeezes, and on a
    busy machine fills gaps, so that one end is 100 ms from where the other says. The mean over pieces, each
    at its best place after the one before. Digital silence at the ends of `needle` is like anything.
    """
    needle = np.trim_zeros(needle)
    if len(haystack) < len(needle):
        return 0.0
    piece, step = (SAMPLE_RATE * duration_ms // 1000 for duration_ms in (PIECE_MS, STEP_MS))
    length, drift = PIECE_MS // STEP_MS, DRIFT_MS // STEP_MS
    starts = range(0, len(needle) - piece + 1, piece)
    best = np.zeros(0)
    for start in starts:
        likeness = _likeness(needle[start : start + piece], haystack)
        here = np.pad(likeness, (0, -len(likeness) % step), constant_values=-1).reshape(-1, step).max(axis=1)
        if start:
            before = np.pad(best, (length + drift, drift), constant_values=-np.inf)[: len(best) + 2 * drift]
            here += sliding_window_view(before, 2 * drift + 1).max(axis=1)
        best = here
    return float(best.max()) / len(starts)

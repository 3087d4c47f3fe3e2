"""Whether 20 ms of a caller are speech: a loudness floor, then libwebrtc's voice activity detector.

Why that detector and not a neural one: docs/decisions/0002-vad.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import webrtcvad
from numpy.typing import NDArray

from transceiver.media import FRAME_SAMPLES, SAMPLE_RATE

VAD_RATE = 8_000
"""The detector works in six bands below 4 kHz and brings every other rate down to this one itself."""
DECIMATION = SAMPLE_RATE // VAD_RATE
TAPS = 45

QUIETEST_DBFS = -65.0
LOUDEST_DBFS = -25.0
FULL_SCALE = 32_768.0
AGGRESSIVENESS_LEVELS = 4


@dataclass(frozen=True, slots=True)
class Hearing:
    """What one frame was."""

    is_speech: bool
    is_audible: bool
    """Above the loudness floor, whether speech or not."""


class SpeechDetector:
    """Judges consecutive frames of one caller. `threshold` is that of the Realtime API, 0 to 1."""

    def __init__(self, threshold: float) -> None:
        self._vad = webrtcvad.Vad(aggressiveness(threshold))
        self._decimator = Decimator()
        self._least_energy = FRAME_SAMPLES * (FULL_SCALE * 10 ** (floor_dbfs(threshold) / 20)) ** 2

    def judge(self, pcm: bytes) -> Hearing:
        """`pcm` is one frame of `media.FRAME_BYTES`.

        The floor also cuts off the 100 ms that the detector holds on to speech after its end, so that on
        a quiet line a turn ends when the caller does.
        """
        narrow = self._decimator.push(pcm)
        is_audible = self._decimator.energy() >= self._least_energy
        is_speech = self._vad.is_speech(narrow, VAD_RATE)
        return Hearing(is_speech and is_audible, is_audible)


def aggressiveness(threshold: float) -> int:
    """The detector's mode for a threshold: 0 takes most things for speech, 3 the fewest; 0.5 is 2."""
    return min(int(threshold * AGGRESSIVENESS_LEVELS), AGGRESSIVENESS_LEVELS - 1)


def floor_dbfs(threshold: float) -> float:
    """The RMS level below which nothing is speech, in dB relative to full scale; 0.5 is -45 dBFS.

    Conversational speech sits around -26 dBFS (ITU-T P.56 practice), a quiet room after a browser's noise
    suppression below -60.
    """
    return QUIETEST_DBFS + (LOUDEST_DBFS - QUIETEST_DBFS) * threshold


class Decimator:
    """24 kHz to 8 kHz, frame by frame: a windowed-sinc low-pass, then every third sample.

    45 taps leave 0–3 kHz flat within 0.6 dB and put what would fold back below 3.4 kHz 50 dB down. Only
    the wanted third of the outputs is computed: the rows of `_windows` are views of the samples under
    each of them.
    """

    def __init__(self) -> None:
        self._samples: NDArray[np.float32] = np.zeros(TAPS - 1 + FRAME_SAMPLES, np.float32)
        self._windows = np.lib.stride_tricks.sliding_window_view(self._samples, TAPS)[::DECIMATION]
        self._frame = self._samples[TAPS - 1 :]

    def push(self, pcm: bytes) -> bytes:
        """The same 20 ms at 8 kHz, 1 ms late."""
        self._samples[: TAPS - 1] = self._samples[FRAME_SAMPLES:]
        self._frame[:] = np.frombuffer(pcm, "<i2")
        narrow: NDArray[np.float32] = np.dot(self._windows, LOW_PASS)
        np.minimum(narrow, FULL_SCALE - 1, out=narrow)
        np.maximum(narrow, -FULL_SCALE, out=narrow)
        return narrow.astype("<i2").tobytes()

    def energy(self) -> float:
        """Sum of the squares of the last frame's samples."""
        return float(np.dot(self._frame, self._frame))


def _low_pass() -> NDArray[np.float32]:
    cutoff = 0.9 / DECIMATION
    taps = np.sinc((np.arange(TAPS) - TAPS // 2) * cutoff) * np.hamming(TAPS)
    normalised: NDArray[np.float32] = (taps / taps.sum()).astype(np.float32)
    return normalised


LOW_PASS = _low_pass()

"""Voices that can be told apart: a tone for each caller, in syllables, and the test for who is heard."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from transceiver.media import SAMPLE_RATE

Samples = NDArray[np.int16]

LOWEST_HZ = 1_000.0
SPACING_HZ = 30.0
"""50 voices lie within 1000–2470 Hz: Opus carries them at any bit rate, and the speech detector takes them
for speech throughout, which it does not do with a pure tone of a few hundred hertz."""
SYLLABLES_PER_S = 4.0
LEVEL = 8_000
FADE_S = 0.005


def pitch(index: int) -> float:
    """Frequency of the voice with this number, in Hz."""
    return LOWEST_HZ + SPACING_HZ * index


def voice(hz: float, duration_s: float) -> Samples:
    """24 kHz mono: a tone that swells and fades like syllables, never below a third of its level, so that
    it is one turn to a speech detector.
    """
    time_s = np.arange(int(duration_s * SAMPLE_RATE)) / SAMPLE_RATE
    syllables = (2 - np.cos(2 * np.pi * SYLLABLES_PER_S * time_s)) / 3
    edges = np.clip(np.minimum(time_s, duration_s - time_s) / FADE_S, 0, 1)
    return (LEVEL * syllables * edges * np.sin(2 * np.pi * hz * time_s)).astype(np.int16)


def tone_power(samples: Samples, hz: float) -> float:
    """Mean power of one frequency in `samples` (a Goertzel bin), in squared sample units."""
    time_s = np.arange(len(samples)) / SAMPLE_RATE
    bin_value = np.dot(samples.astype(float), np.exp(-2j * np.pi * hz * time_s))
    return float(2 * (abs(bin_value) / max(len(samples), 1)) ** 2)


def heard(samples: Samples, pitches: Sequence[float], least_share: float = 0.1) -> list[float]:
    """Which of `pitches` are in `samples`: those with at least `least_share` of the whole power."""
    total = float(np.mean(samples.astype(float) ** 2)) if len(samples) else 0.0
    return [hz for hz in pitches if total > 1.0 and tone_power(samples, hz) >= least_share * total]

"""Words for the clerk's ears, by the voice that it has itself."""

from __future__ import annotations

import subprocess

import numpy as np

from tests.sound import Samples, silence
from transceiver.media import SAMPLE_RATE
from transceiver.media.resample import Resampler

VOICE_RATE, WAV_HEADER = 22_050, 44


def words(text: str) -> Samples:
    """A caller who says this, 24 kHz, after a moment of silence."""
    spoken = subprocess.run(
        ["espeak-ng", "-v", "en-us", "-s", "150", "--stdin", "--stdout"],
        input=text.encode(),
        capture_output=True,
        check=True,
    ).stdout
    resampler = Resampler(VOICE_RATE, SAMPLE_RATE)
    said = resampler.push(np.frombuffer(spoken[WAV_HEADER:], "<i2"))
    return np.concatenate([silence(300), said, resampler.flush()])

"""Audio files of any kind as PCM."""

from __future__ import annotations

import io

import av
import numpy as np

from tests.sound import Samples
from transceiver.media import SAMPLE_RATE


def decode(file: bytes) -> Samples:
    """The first audio stream, mixed down to 24 kHz mono."""
    resampler = av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE)
    with av.open(io.BytesIO(file), "r") as container:
        decoded = [part for frame in container.decode(audio=0) for part in resampler.resample(frame)]
    return np.concatenate([part.to_ndarray()[0] for part in decoded])

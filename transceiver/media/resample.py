"""One rate to another, chunk by chunk and without a joint, by libsoxr. docs/decisions/0401-soxr.md."""

from __future__ import annotations

import numpy as np
import soxr
from numpy.typing import NDArray

QUALITY = "MQ"
"""15 ms of delay whatever the rates, flat to 87 % of the lower Nyquist frequency; HQ takes 21 ms."""


class Resampler:
    """16-bit mono of one stream. What has gone in comes out, `flush` included, in n·out/in samples."""

    def __init__(self, from_rate: int, to_rate: int) -> None:
        self._rates = (from_rate, to_rate)
        self._stream = soxr.ResampleStream(from_rate, to_rate, 1, dtype="int16", quality=QUALITY)
        self._is_empty = True

    def push(self, samples: NDArray[np.int16]) -> NDArray[np.int16]:
        """What can be told so far: the filter has to see what comes next."""
        self._is_empty = self._is_empty and not len(samples)
        told: NDArray[np.int16] = self._stream.resample_chunk(samples)
        return told

    def flush(self) -> NDArray[np.int16]:
        """The rest, as if silence followed; then a new stream begins."""
        if self._is_empty:
            return np.zeros(0, np.int16)
        rest: NDArray[np.int16] = self._stream.resample_chunk(np.zeros(0, np.int16), last=True)
        self._stream.clear()
        self._is_empty = True
        return rest

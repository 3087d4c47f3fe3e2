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
        self._stream = soxr.ResampleStream(from_rate, to_rate, 1, dtype="float32", quality=QUALITY)
        self._is_empty = True

    def push(self, samples: NDArray[np.int16]) -> NDArray[np.int16]:
        """What can be told so far: the filter has to see what comes next."""
        self._is_empty = self._is_empty and not len(samples)
        return _rounded(self._stream.resample_chunk(samples.astype(np.float32)))

    def flush(self) -> NDArray[np.int16]:
        """The rest, as if silence followed; then a new stream begins."""
        if self._is_empty:
            return np.zeros(0, np.int16)
        rest = _rounded(self._stream.resample_chunk(np.zeros(0, np.float32), last=True))
        self._stream.clear()
        self._is_empty = True
        return rest


def _rounded(samples: NDArray[np.float32]) -> NDArray[np.int16]:
    """Not left to libsoxr, which adds noise of one bit with another seed each time: silence would be none,
    and a recogniser that hears the same words twice would hear other ones.
    """
    return np.clip(np.rint(samples), -32768, 32767).astype(np.int16)

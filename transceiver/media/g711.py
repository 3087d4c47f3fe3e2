"""G.711, µ-law and A-law (ITU-T G.711), by tables. For backends that speak as telephones do."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.int16]

G711_RATE = 8_000
_MU_BIAS = 132
_MU_CLIP = 32_635
_A_SEGMENT_ENDS = np.array([0x1F, 0x3F, 0x7F, 0xFF, 0x1FF, 0x3FF, 0x7FF, 0xFFF])


def encode_mu_law(samples: Samples) -> bytes:
    """A byte per sample, both at `G711_RATE`."""
    return _MU_CODES[samples.view(np.uint16)].tobytes()


def decode_mu_law(encoded: bytes) -> Samples:
    """The samples of any bytes: every byte is a code."""
    return _MU_SAMPLES[np.frombuffer(encoded, np.uint8)]


def encode_a_law(samples: Samples) -> bytes:
    """A byte per sample, both at `G711_RATE`."""
    return _A_CODES[samples.view(np.uint16)].tobytes()


def decode_a_law(encoded: bytes) -> Samples:
    """The samples of any bytes: every byte is a code."""
    return _A_SAMPLES[np.frombuffer(encoded, np.uint8)]


def _every_sample() -> NDArray[np.int32]:
    """All 16-bit samples, at the place of their bits."""
    return np.arange(1 << 16, dtype=np.uint16).view(np.int16).astype(np.int32)


def _mu_codes() -> NDArray[np.uint8]:
    samples = _every_sample()
    magnitude = np.minimum(np.abs(samples), _MU_CLIP) + _MU_BIAS
    exponent = np.floor(np.log2(magnitude)).astype(np.int32) - 7
    mantissa = (magnitude >> (exponent + 3)) & 0xF
    sign = np.where(samples < 0, 0x80, 0)
    codes: NDArray[np.uint8] = (~(sign | exponent << 4 | mantissa) & 0xFF).astype(np.uint8)
    return codes


def _mu_samples() -> Samples:
    code = ~np.arange(256) & 0xFF
    magnitude = (((code & 0xF) << 3) + _MU_BIAS << (code >> 4 & 7)) - _MU_BIAS
    return np.where(code & 0x80, -magnitude, magnitude).astype(np.int16)


def _a_codes() -> NDArray[np.uint8]:
    samples = _every_sample() >> 3
    magnitude = np.where(samples < 0, -samples - 1, samples)
    segment = np.searchsorted(_A_SEGMENT_ENDS, magnitude)
    code = segment << 4 | (magnitude >> np.maximum(segment, 1)) & 0xF
    codes: NDArray[np.uint8] = (code ^ np.where(samples < 0, 0x55, 0xD5)).astype(np.uint8)
    return codes


def _a_samples() -> Samples:
    code = np.arange(256) ^ 0x55
    segment, steps = code >> 4 & 7, (code & 0xF) << 4
    magnitude = np.where(segment == 0, steps + 8, steps + 0x108 << np.maximum(segment, 1) - 1)
    return np.where(code & 0x80, magnitude, -magnitude).astype(np.int16)


_MU_CODES, _MU_SAMPLES = _mu_codes(), _mu_samples()
_A_CODES, _A_SAMPLES = _a_codes(), _a_samples()

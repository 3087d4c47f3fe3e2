"""Audio as the protocol's events have it: base64 of PCM or of G.711, by `format.type` of a session object."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from transceiver.media import SAMPLE_RATE
from transceiver.media.g711 import decode_a_law, decode_mu_law, encode_a_law, encode_mu_law
from transceiver.media.resample import Resampler

Samples = NDArray[np.int16]

DECODERS: Final[Mapping[str, Callable[[bytes], Samples]]] = {
    "audio/pcmu": decode_mu_law,
    "audio/pcma": decode_a_law,
}
ENCODERS: Final[Mapping[str, Callable[[Samples], bytes]]] = {
    "audio/pcmu": encode_mu_law,
    "audio/pcma": encode_a_law,
}
"""By `format.type`. `audio/pcm`, in neither, is 16 bits, little-endian."""


class AudioEncoder:
    """Our PCM as the other side wants it, one utterance or content part after the other."""

    def __init__(self, kind: str, rate: int) -> None:
        self._encode = ENCODERS.get(kind)
        self._resampler = None if rate == SAMPLE_RATE else Resampler(SAMPLE_RATE, rate)

    def encode(self, pcm: bytes) -> str:
        """`audio` or `delta` of an event; empty while the resampler has it all."""
        if self._resampler is None and self._encode is None:
            return base64.b64encode(pcm).decode()
        samples = np.frombuffer(pcm, "<i2")
        return self._encoded(samples if self._resampler is None else self._resampler.push(samples))

    def flush(self) -> str:
        """What the resampler still has: what comes next is another utterance, or another part."""
        return "" if self._resampler is None else self._encoded(self._resampler.flush())

    def _encoded(self, samples: Samples) -> str:
        encoded = samples.astype("<i2").tobytes() if self._encode is None else self._encode(samples)
        return base64.b64encode(encoded).decode()

"""Between a client's audio and ours: base64, G.711, frames."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from transceiver.media import FRAME_BYTES, SAMPLE_RATE
from transceiver.media.g711 import G711_RATE, decode_a_law, decode_mu_law, encode_a_law, encode_mu_law
from transceiver.media.resample import Resampler

Samples = NDArray[np.int16]
PCM = "audio/pcm"
BYTES_PER_SAMPLE = 2

DECODERS: Final[Mapping[str, Callable[[bytes], Samples]]] = {
    "audio/pcmu": decode_mu_law,
    "audio/pcma": decode_a_law,
}
ENCODERS: Final[Mapping[str, Callable[[Samples], bytes]]] = {
    "audio/pcmu": encode_mu_law,
    "audio/pcma": encode_a_law,
}
"""By `format.type`. PCM, in neither, is ours already: 16 bits, little-endian, 24 kHz."""


class Intake:
    """What a client appends, frame by frame. Holds what was appended and not yet taken."""

    def __init__(self, kind: str) -> None:
        self._decode = DECODERS.get(kind)
        self._resampler = None if self._decode is None else Resampler(G711_RATE, SAMPLE_RATE)
        self._pcm = bytearray()
        self._taken = 0

    def append_untrusted(self, audio: object) -> bool:
        """`audio` of an `input_audio_buffer.append`. False, and nothing is taken, where it is no base64, or
        no whole samples.
        """
        if not isinstance(audio, str):
            return False
        try:
            encoded = base64.b64decode(audio, validate=True)
        except ValueError:
            return False
        if self._decode is None or self._resampler is None:
            if len(encoded) % BYTES_PER_SAMPLE:
                return False
            self._pcm += encoded
        else:
            self._pcm += self._resampler.push(self._decode(encoded)).tobytes()
        return True

    def take(self) -> bytes | None:
        """The next frame; None when less than one is there."""
        if len(self._pcm) - self._taken < FRAME_BYTES:
            del self._pcm[: self._taken]
            self._taken = 0
            return None
        self._taken += FRAME_BYTES
        return bytes(self._pcm[self._taken - FRAME_BYTES : self._taken])

    def complete(self) -> None:
        """What comes next is another utterance: fill the last frame up with silence."""
        if self._resampler is not None:
            self._pcm += self._resampler.flush().tobytes()
        self._pcm += bytes(-(len(self._pcm) - self._taken) % FRAME_BYTES)

    def clear(self) -> None:
        """Forget what was not taken."""
        if self._resampler is not None:
            self._resampler.flush()
        self._pcm.clear()
        self._taken = 0


class Voice:
    """Our PCM as the client wants it, of one content part."""

    def __init__(self, kind: str) -> None:
        self._encode = ENCODERS.get(kind)
        self._resampler = None if self._encode is None else Resampler(SAMPLE_RATE, G711_RATE)

    def encode(self, pcm: bytes) -> str:
        """`delta` of a `response.output_audio.delta`; empty while the resampler has it all."""
        if self._encode is None or self._resampler is None:
            return base64.b64encode(pcm).decode()
        return self._encoded(self._resampler.push(np.frombuffer(pcm, "<i2")))

    def flush(self) -> str:
        """What the resampler still has, at the end of the part."""
        return "" if self._resampler is None else self._encoded(self._resampler.flush())

    def _encoded(self, samples: Samples) -> str:
        assert self._encode is not None
        return base64.b64encode(self._encode(samples)).decode()

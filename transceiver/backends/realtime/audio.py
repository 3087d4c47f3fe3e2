"""Between our PCM and a backend's: base64, G.711, sample rates."""

from __future__ import annotations

import base64
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from core.errors import BackendError
from transceiver.backends.realtime.formats import AudioFormat, Encoding
from transceiver.media import SAMPLE_RATE
from transceiver.media.g711 import decode_a_law, decode_mu_law, encode_a_law, encode_mu_law
from transceiver.media.resample import Resampler

Samples = NDArray[np.int16]


class AudioReason(StrEnum):
    """Why audio of a backend's was refused; a metric label."""

    NOT_BASE64 = "backend_audio_not_base64"


class Uplink:
    """The caller's audio as the backend wants it."""

    def __init__(self, wanted: AudioFormat) -> None:
        self.format = wanted
        self._resampler = _resampler(SAMPLE_RATE, wanted.rate)

    def encode(self, pcm: bytes) -> str:
        """`audio` of an `input_audio_buffer.append`; empty while the resampler has it all."""
        if self._resampler is None and self.format.encoding is Encoding.PCM:
            return base64.b64encode(pcm).decode()
        samples = np.frombuffer(pcm, "<i2")
        return self._encode(samples if self._resampler is None else self._resampler.push(samples))

    def flush(self) -> str:
        """What the resampler still has: the turn is over, and what comes next is another."""
        return "" if self._resampler is None else self._encode(self._resampler.flush())

    def _encode(self, samples: Samples) -> str:
        match self.format.encoding:
            case Encoding.PCM:
                encoded = samples.astype("<i2").tobytes()
            case Encoding.MU_LAW:
                encoded = encode_mu_law(samples)
            case Encoding.A_LAW:
                encoded = encode_a_law(samples)
        return base64.b64encode(encoded).decode()


class Downlink:
    """A backend's audio, of one content part, as ours."""

    def __init__(self, given: AudioFormat) -> None:
        self._format = given
        self._resampler = _resampler(given.rate, SAMPLE_RATE)
        self._half_sample = b""
        self._samples = 0

    @property
    def received_ms(self) -> int:
        """Whole milliseconds that have come, as the backend counts them."""
        return self._samples * 1000 // self._format.rate

    def decode_untrusted(self, delta: str) -> bytes:
        """PCM of a delta, as far as it can be told yet. Raises BackendError."""
        try:
            encoded = base64.b64decode(delta, validate=True)
        except ValueError:
            raise BackendError(AudioReason.NOT_BASE64) from None
        samples = self._decode(encoded)
        self._samples += len(samples)
        return (samples if self._resampler is None else self._resampler.push(samples)).tobytes()

    def flush(self) -> bytes:
        """What the resampler still has, at the end of the part."""
        return b"" if self._resampler is None else self._resampler.flush().tobytes()

    def _decode(self, encoded: bytes) -> Samples:
        match self._format.encoding:
            case Encoding.MU_LAW:
                return decode_mu_law(encoded)
            case Encoding.A_LAW:
                return decode_a_law(encoded)
            case Encoding.PCM:
                whole = self._half_sample + encoded
                cut = len(whole) & ~1
                self._half_sample = whole[cut:]
                return np.frombuffer(whole[:cut], "<i2")


def _resampler(from_rate: int, to_rate: int) -> Resampler | None:
    return None if from_rate == to_rate else Resampler(from_rate, to_rate)

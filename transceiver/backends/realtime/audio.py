"""Between our PCM and a backend's: base64, G.711, sample rates."""

from __future__ import annotations

import base64
from enum import StrEnum

import numpy as np

from core.errors import BackendError
from transceiver.backends.realtime.formats import AudioFormat
from transceiver.media import SAMPLE_RATE
from transceiver.media.resample import Resampler
from transceiver.realtime.audio import DECODERS, AudioEncoder, Samples


class AudioReason(StrEnum):
    """Why audio of a backend's was refused; a metric label."""

    NOT_BASE64 = "backend_audio_not_base64"


class Uplink(AudioEncoder):
    """The caller's audio as the backend wants it."""

    def __init__(self, wanted: AudioFormat) -> None:
        super().__init__(wanted.encoding, wanted.rate)
        self.format = wanted


class Downlink:
    """A backend's audio, of one content part, as ours."""

    def __init__(self, given: AudioFormat) -> None:
        self._format = given
        self._resampler = None if given.rate == SAMPLE_RATE else Resampler(given.rate, SAMPLE_RATE)
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
        decode = DECODERS.get(self._format.encoding)
        if decode is not None:
            return decode(encoded)
        whole = self._half_sample + encoded
        cut = len(whole) & ~1
        self._half_sample = whole[cut:]
        return np.frombuffer(whole[:cut], "<i2")

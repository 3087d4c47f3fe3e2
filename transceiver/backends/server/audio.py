"""Between a client's audio and ours: base64, G.711, frames."""

from __future__ import annotations

import base64

from transceiver.media import FRAME_BYTES, SAMPLE_RATE
from transceiver.media.g711 import G711_RATE
from transceiver.media.resample import Resampler
from transceiver.realtime.audio import DECODERS, ENCODERS, AudioEncoder

BYTES_PER_SAMPLE = 2


class Intake:
    """What a client appends, frame by frame: G.711, or PCM at our rate, which it has to be. Holds what was
    appended and not yet taken.
    """

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


class Voice(AudioEncoder):
    """Our PCM as the client wants it, of one content part."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind, G711_RATE if kind in ENCODERS else SAMPLE_RATE)

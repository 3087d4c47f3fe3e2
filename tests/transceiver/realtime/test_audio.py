"""Audio of events: what goes in comes out, in the format and at the rate that was asked for."""

from __future__ import annotations

import base64

import numpy as np
import pytest

from tests.sound import find, speech
from transceiver.media import FRAME_BYTES, SAMPLE_RATE
from transceiver.media.resample import Resampler
from transceiver.realtime.audio import DECODERS, AudioEncoder


def encoded(encoder: AudioEncoder, pcm: bytes) -> bytes:
    pieces = [encoder.encode(pcm[at : at + FRAME_BYTES]) for at in range(0, len(pcm), FRAME_BYTES)]
    return b"".join(base64.b64decode(piece) for piece in [*pieces, encoder.flush()])


def test_our_own_format_goes_out_as_it_is() -> None:
    pcm = speech().tobytes()
    assert encoded(AudioEncoder("audio/pcm", SAMPLE_RATE), pcm) == pcm


@pytest.mark.parametrize(
    ("kind", "rate"), [("audio/pcm", 16_000), ("audio/pcmu", 8_000), ("audio/pcma", 8_000)]
)
def test_each_utterance_is_whole_at_the_rate_that_is_wanted(kind: str, rate: int) -> None:
    encoder = AudioEncoder(kind, rate)
    for _ in range(2):
        out = encoded(encoder, speech().tobytes())
        samples = DECODERS[kind](out) if kind in DECODERS else np.frombuffer(out, "<i2")
        assert len(samples) == pytest.approx(len(speech()) * rate / SAMPLE_RATE, abs=1)
        back = Resampler(rate, SAMPLE_RATE)
        heard = np.concatenate([back.push(samples), back.flush(), np.zeros(4800, np.int16)])
        assert find(speech(), heard).likeness > 0.9

"""The process that recognises, by what it is told on its standard input."""

from __future__ import annotations

import io

import numpy as np
import pytest

from tests.transceiver.backends.clerk.kit import words
from transceiver.backends.clerk.orders import NAMES, WORDS
from transceiver.backends.clerk.recognizer import NOISE, PADDING, RATE
from transceiver.backends.clerk.recognizer_worker import HEAD, make_decoder, recognise
from transceiver.media import SAMPLE_RATE
from transceiver.media.resample import Resampler


def told(kind: bytes, body: bytes = b"") -> bytes:
    return HEAD.pack(kind, len(body)) + body


def audio(text: str) -> bytes:
    resampler = Resampler(SAMPLE_RATE, RATE)
    samples = np.concatenate([resampler.push(words(text)), resampler.flush(), PADDING])
    return (samples + np.resize(NOISE, len(samples))).astype("<i2").tobytes()


@pytest.mark.slow
def test_orders_are_recognised_and_what_is_forgotten_is_not() -> None:
    decoder = make_decoder()
    for text in ("what time is it", "call me robert", "who am i", "repeat seven elephant"):
        pcm = audio(text)
        pieces = b"".join(told(b"A", pcm[start : start + 640]) for start in range(0, len(pcm), 640))
        assert recognise(decoder, io.BytesIO(pieces + told(b"A") + told(b"X"))) == ""
        assert recognise(decoder, io.BytesIO(pieces + told(b"E"))) == text


def test_nothing_said_is_nothing_and_an_end_of_the_input_is_the_end() -> None:
    decoder = make_decoder()
    assert recognise(decoder, io.BytesIO(told(b"E"))) == ""
    assert recognise(decoder, io.BytesIO(told(b"A", bytes(640)))) is None
    assert recognise(decoder, io.BytesIO(b"A")) is None


def test_the_model_has_every_word_of_the_grammar() -> None:
    decoder = make_decoder()
    missing = [word for word in (*WORDS, *NAMES) if decoder.lookup_word(word) is None]
    assert missing == []

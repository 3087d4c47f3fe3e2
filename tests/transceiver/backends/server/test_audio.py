"""Audio of clients in any pieces and formats, and ours as they want it."""

from __future__ import annotations

import base64

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.sound import Samples, find, speech
from transceiver.backends.server.audio import Intake, Voice
from transceiver.media import FRAME_BYTES, SAMPLE_RATE

FORMATS = ("audio/pcm", "audio/pcmu", "audio/pcma")
RATES = {"audio/pcm": SAMPLE_RATE, "audio/pcmu": 8_000, "audio/pcma": 8_000}


def text(encoded: bytes) -> str:
    return base64.b64encode(encoded).decode()


def heard(intake: Intake) -> bytes:
    frames = []
    while (frame := intake.take()) is not None:
        assert len(frame) == FRAME_BYTES
        frames.append(frame)
    return b"".join(frames)


@given(st.lists(st.integers(0, 3000), max_size=12))
def test_pcm_comes_out_as_it_went_in_whatever_the_pieces(lengths: list[int]) -> None:
    pcm = np.arange(sum(lengths), dtype="<i2").tobytes()
    intake, out, start = Intake("audio/pcm"), b"", 0
    for length in lengths:
        assert intake.append_untrusted(text(pcm[start : start + 2 * length]))
        start += 2 * length
        out += heard(intake)
    intake.complete()
    out += heard(intake)
    assert out[: len(pcm)] == pcm
    assert len(out) - len(pcm) < FRAME_BYTES
    assert not any(out[len(pcm) :])


@pytest.mark.parametrize("audio", [None, 7, [], "a", "AAA", "AA==", "=", "A\nAAA", "ÄÄÄÄ", "AAAA AAA"])
def test_what_is_no_base64_of_whole_samples_is_refused_and_leaves_nothing(audio: object) -> None:
    intake = Intake("audio/pcm")
    assert not intake.append_untrusted(audio)
    intake.complete()
    assert heard(intake) == b""


def test_what_is_cleared_is_not_heard() -> None:
    intake = Intake("audio/pcm")
    intake.append_untrusted(text(bytes(2 * FRAME_BYTES + 100)))
    assert intake.take() is not None
    intake.clear()
    intake.complete()
    assert heard(intake) == b""


@pytest.mark.parametrize("kind", FORMATS)
def test_a_sentence_survives_the_way_out_and_back(kind: str) -> None:
    said: Samples = speech()
    voice, intake = Voice(kind), Intake(kind)
    pcm = said.tobytes()
    pieces = [voice.encode(pcm[start : start + 1920]) for start in range(0, len(pcm), 1920)] + [voice.flush()]
    encoded = [base64.b64decode(piece) for piece in pieces]
    seconds = sum(map(len, encoded)) / (2 if kind == "audio/pcm" else 1) / RATES[kind]
    assert seconds == pytest.approx(len(said) / SAMPLE_RATE, abs=0.002)
    for piece in encoded:
        assert intake.append_untrusted(text(piece))
    intake.complete()
    match = find(said[:24_000], np.frombuffer(heard(intake), "<i2"))
    assert match.likeness > (0.9999 if kind == "audio/pcm" else 0.93)
    assert match.at_ms < 2

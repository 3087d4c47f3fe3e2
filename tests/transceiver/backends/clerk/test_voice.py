"""The voice: real speech, streamed, and what there is without it."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from pathlib import Path

import numpy as np
import pytest

from core.errors import UnavailableError
from transceiver.backends.clerk.voice import PROGRAM, EspeakVoice
from transceiver.media import SAMPLE_RATE


def spoken(words: str) -> list[bytes]:
    async def speak() -> list[bytes]:
        return [pcm async for pcm in EspeakVoice().speak(words)]

    return asyncio.run(speak())


def test_a_sentence_comes_in_pieces() -> None:
    pieces = spoken("It is a quarter past three.")
    pcm = np.frombuffer(b"".join(pieces), "<i2")
    assert len(pieces) > 5
    assert 1.0 < len(pcm) / SAMPLE_RATE < 4.0
    assert np.abs(pcm).max() > 5_000


def test_words_are_no_options() -> None:
    assert sum(map(len, spoken("--version"))) > SAMPLE_RATE // 2


def test_half_a_surrogate_pair_stops_nobody() -> None:
    assert sum(map(len, spoken("seven \ud800 elephant"))) > SAMPLE_RATE // 2


def test_a_sentence_that_is_broken_off_leaves_no_process() -> None:
    async def scenario() -> None:
        async with aclosing(EspeakVoice().speak("one two three. " * 200)) as speech:
            async for _ in speech:
                break
        assert PROGRAM not in children()

    asyncio.run(scenario())


def children() -> list[str]:
    """Names of the processes that are ours."""
    each = Path("/proc/self/task").glob("*/children")
    pids = [pid for file in each for pid in file.read_text().split()]
    return [Path(f"/proc/{pid}/comm").read_text().strip() for pid in pids]


def test_without_the_program_its_name_and_its_package_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(UnavailableError, match="apt install espeak-ng"):
        EspeakVoice().check()

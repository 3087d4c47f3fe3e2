"""Other rates, in any chunks: as many samples as there should be, and no joint."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transceiver.media.resample import Resampler

RATES = [(24_000, 16_000), (16_000, 24_000), (24_000, 8_000), (8_000, 24_000), (48_000, 24_000)]


def tone(rate: int, count: int) -> np.ndarray:
    return np.sin(2 * np.pi * 440 * np.arange(count) / rate) * 8000


@pytest.mark.parametrize(("from_rate", "to_rate"), RATES)
def test_a_tone_stays_that_tone_at_its_time(from_rate: int, to_rate: int) -> None:
    resampler = Resampler(from_rate, to_rate)
    said = tone(from_rate, from_rate).astype(np.int16)
    size = from_rate // 50
    heard = [resampler.push(said[start : start + size]) for start in range(0, len(said), size)]
    whole = np.concatenate([*heard, resampler.flush()])
    assert len(whole) == to_rate
    edge = to_rate // 20
    assert np.abs(whole - tone(to_rate, to_rate))[edge:-edge].max() < 8


@pytest.mark.parametrize(("from_rate", "to_rate"), RATES)
def test_what_it_holds_back_is_15_ms_and_the_rest_of_a_block(from_rate: int, to_rate: int) -> None:
    resampler = Resampler(from_rate, to_rate)
    told = len(resampler.push(tone(from_rate, from_rate).astype(np.int16)))
    assert to_rate - told <= to_rate * 30 // 1000


@given(st.sampled_from(RATES), st.lists(st.integers(0, 3000), max_size=12))
def test_no_sample_is_lost_or_made_up_however_it_is_cut(rates: tuple[int, int], sizes: list[int]) -> None:
    resampler = Resampler(*rates)
    said = tone(rates[0], sum(sizes)).astype(np.int16)
    for _ in range(2):
        ends = np.cumsum([0, *sizes])
        heard = [resampler.push(said[a:b]) for a, b in itertools.pairwise(ends)]
        whole = np.concatenate([*heard, resampler.flush()])
        assert abs(len(whole) - sum(sizes) * rates[1] / rates[0]) <= 1


@pytest.mark.parametrize(("from_rate", "to_rate"), RATES)
def test_silence_stays_silence_and_the_same_is_the_same_again(from_rate: int, to_rate: int) -> None:
    silent, said = np.zeros(from_rate, np.int16), (tone(from_rate, from_rate) / 2000).astype(np.int16)
    assert not Resampler(from_rate, to_rate).push(silent).any()
    first, second = (Resampler(from_rate, to_rate).push(said) for _ in range(2))
    assert np.array_equal(first, second)


def test_what_is_too_loud_is_clipped_and_never_wraps() -> None:
    """A square wave at full scale overshoots at its edges; between them it stays on its side."""
    half = 600
    square = np.repeat(np.array([32767, -32768] * 10, np.int16), half)
    heard = Resampler(24_000, 16_000).push(square).astype(int)
    assert (heard.max(), heard.min()) == (32767, -32768)
    whole = heard[: len(heard) // 400 * 400].reshape(-1, 400)[1:, 50:350]
    assert (np.sign(whole) == np.sign(whole[:, :1])).all()

"""The tone of a line whose backend is gone."""

from __future__ import annotations

import numpy as np

from transceiver.backends.realtime.loss import LEVEL, PERIOD_S, TONE_HZ, TONE_S, LossTone
from transceiver.media import SAMPLE_RATE


def test_it_sounds_for_a_fifth_of_each_second_without_a_click() -> None:
    tone = LossTone()
    first, second = (
        np.frombuffer(b"".join(tone.next_frame() for _ in range(50)), "<i2").astype(int) for _ in range(2)
    )
    assert np.array_equal(first, second)
    assert len(first) == int(PERIOD_S * SAMPLE_RATE)
    assert not first[int(TONE_S * SAMPLE_RATE) :].any()
    sounding = first[: int(TONE_S * SAMPLE_RATE)]
    assert np.abs(np.fft.rfft(sounding)).argmax() / TONE_S == TONE_HZ
    assert np.abs(np.diff(first)).max() < LEVEL * 2 * np.pi * TONE_HZ / SAMPLE_RATE + 2

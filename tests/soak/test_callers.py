from __future__ import annotations

import random

import pytest

from tests.soak import callers
from tests.soak.callers import MS, Clock, Talk
from tests.tones import voice
from transceiver.media import FRAME_BYTES, FRAME_MS

LOUD = voice(1000, 0.02).tobytes()
QUIET = bytes(FRAME_BYTES)


def stream(clock: Clock, seconds: float, period_ns: int, first: int = 65_500, at_ns: int = 0) -> None:
    for number in range(int(seconds * 1000 / FRAME_MS)):
        late_ns = 15 * MS if number % 3 else 0
        clock.packet((first + number) % 65_536, at_ns + number * period_ns + late_ns)


def test_a_clock_that_runs_true_has_no_drift_however_its_packets_come() -> None:
    clock = Clock()
    stream(clock, 60, FRAME_MS * MS)
    assert clock.drift_ms == 0


@pytest.mark.parametrize("ppm", [-500, 500])
def test_a_clock_that_is_off_drifts_by_what_it_is_off(ppm: int) -> None:
    clock = Clock()
    stream(clock, 60, FRAME_MS * MS * (1_000_000 + ppm) // 1_000_000)
    assert clock.drift_ms == pytest.approx(55 * ppm / 1000, abs=3)


def test_a_frame_that_was_left_out_is_a_frame_of_drift() -> None:
    clock = Clock()
    stream(clock, 20, FRAME_MS * MS, first=0)
    stream(clock, 20, FRAME_MS * MS, first=1000, at_ns=20_020 * MS)
    assert clock.drift_ms == 20


def test_of_a_few_seconds_nothing_is_said() -> None:
    clock = Clock()
    stream(clock, 7, FRAME_MS * MS)
    assert clock.drift_ms is None


def test_an_answer_is_broken_into_after_some_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callers, "BREAKS_IN", 1)
    talk = Talk(random.Random(1))
    while talk.tick(QUIET, 0) is not None:
        pass
    heard = 0
    while talk.tick(LOUD, heard) is None:
        heard += 1
    assert callers.HEARD_FRAMES[0] <= heard <= callers.HEARD_FRAMES[1] + 1
    assert talk.interruptions == 1


def test_an_answer_is_heard_out_by_who_does_not_break_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callers, "BREAKS_IN", 0)
    talk = Talk(random.Random(1))
    while talk.tick(QUIET, 0) is not None:
        pass
    assert all(talk.tick(LOUD, 0) is None for _ in range(500))
    assert talk.interruptions == 0

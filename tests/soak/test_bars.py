from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.soak.bars import as_json, judge, render
from tests.soak.callers import Tally
from tests.soak.resources import Sample
from tests.soak.soak import Found, Plan, unexplained


def good() -> Found:
    samples = [Sample(number * 60.0, {"transceiver": 100_000 + number % 7}) for number in range(120)]
    tally = Tally(calls=40, answers=100, unanswered=2, interruptions=30, drift_ms=[0.4, -1.2])
    return Found(Plan(7200, 20, 15), samples, tally, cuts=40, losses=38, is_whole=True)


def test_a_good_soak_meets_all_bars_and_can_be_kept() -> None:
    found = good()
    bars = judge(found)
    assert all(bar.is_met for bar in bars)
    assert "MISSED" not in render(bars)
    assert json.loads(json.dumps(as_json(found, bars)))["found"]["tally"]["answers"] == 100


def leak(found: Found) -> None:
    found.samples = [Sample(number * 60.0, {"transceiver": 100_000 + number * 90}) for number in range(120)]


SPOILT: dict[str, tuple[str, Callable[[Found], object]]] = {
    "leak": ("memory", leak),
    "a task left": ("given back", lambda found: found.left.update(tasks=1)),
    "drift": ("time", lambda found: found.tally.drift_ms.append(-20.5)),
    "a busy machine": ("time", lambda found: setattr(found, "skipped_frames", 1000)),
    "no clock watched": ("time", lambda found: found.tally.drift_ms.clear()),
    "a failed call": ("come about", lambda found: found.tally.fail("no audio")),
    "no answer": ("answered", lambda found: setattr(found.tally, "unanswered", 50)),
    "nobody broke in": ("broken into", lambda found: setattr(found.tally, "interruptions", 0)),
    "nothing cut": ("cut", lambda found: setattr(found, "cuts", 0)),
    "an error": ("log", lambda found: found.log.append("transceiver: ERROR")),
}


@pytest.mark.parametrize("name", SPOILT)
def test_each_bar_is_missed_for_its_own_reason_alone(name: str) -> None:
    words, spoil = SPOILT[name]
    found = good()
    spoil(found)
    (missed,) = [bar for bar in judge(found) if not bar.is_met]
    assert words in missed.name


def test_memory_of_a_short_soak_is_told_and_not_judged() -> None:
    found = good()
    leak(found)
    found.plan = Plan(300, 20, 15)
    memory = judge(found)[0]
    assert memory.is_met
    assert "MiB" in memory.seen
    assert "not judged" in memory.seen


def test_a_short_soak_may_be_played_beside_other_things() -> None:
    found = good()
    found.plan = Plan(300, 20, 15)
    found.skipped_frames = 1000
    found.tally.drift_ms.append(-1000 * 20.0)
    assert all(bar.is_met for bar in judge(found))


def test_a_log_is_read_for_what_nobody_expects() -> None:
    lines = [
        "2026-11-30 19:52:42,959 INFO transceiver[1] ready",
        "2026-11-30 19:52:43,959 WARNING x session rtc_1 lost its backend: closed, it closed, 1006",
        "2026-11-30 19:52:44,959 WARNING transceiver[1] session rtc_1 lost its backend: garbage, binary",
        "Traceback (most recent call last):",
        "KeyError: 1",
    ]
    assert unexplained({"transceiver": "\n".join(lines)}) == [f"transceiver: {line}" for line in lines[2:]]

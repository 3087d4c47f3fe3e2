"""What is made of the lines of a crowd."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from edge.lab.drills.heard import Event, Heard, parse, percentile

MS = 1_000_000


def gap(at_ms: float, ms: float, *, is_open: bool = False) -> dict[str, Any]:
    return {"at_ns": int(at_ms * MS), "ms": ms, "lost": 0, "is_open": is_open}


def report(call: int, *gaps: dict[str, Any], error: str | None = None, lost: int = 0) -> Event:
    quality = {
        "gaps": list(gaps), "packets_lost": lost, "remote_lost": 1,
        "packets_sent": 50, "packets_received": 49,
    }  # fmt: skip
    return {
        "event": "report", "at_ns": 0, "call": call, "error": error, "quality": quality, "moves": 1,
        "restarts": 2,
    }  # fmt: skip


NEVER_UP: Event = {
    "event": "report", "call": 9, "error": "ice: nobody", "quality": None, "moves": 0, "restarts": 0
}  # fmt: skip


def test_events_are_lines_of_json_and_what_is_logged_between_them_is_not() -> None:
    text = '{"event": "connected", "call": 0}\n2026 WARNING no restart\n{"a": 1}\n{"event": "lo'
    assert parse(text) == [{"event": "connected", "call": 0}]
    assert parse("") == []
    assert parse(json.dumps({"event": "x"})) == [], "its end may still be on the way"


def test_a_gap_counts_that_ended_after_the_moment_and_the_longest_of_each_call() -> None:
    heard = Heard([report(0, gap(100, 400), gap(1000, 80), gap(2000, 90)), report(1), NEVER_UP], 3)
    assert heard.gaps_ms(0) == [400]
    assert heard.gaps_ms(499 * MS) == [400], "it was open at that moment"
    assert heard.gaps_ms(501 * MS) == [90]
    assert heard.gap_ms(3000 * MS) == 0


def test_the_gap_in_the_middle_is_that_of_all_calls() -> None:
    assert Heard([report(0, gap(100, 400)), report(1), report(2)], 3).middle_gap_ms(0) == 0
    assert Heard([report(0, gap(100, 400)), report(1, gap(100, 90)), report(2)], 3).middle_gap_ms(0) == 90
    assert Heard([], 0).middle_gap_ms(0) == 0


def test_what_the_machine_was_late_by_is_between_the_last_set_up_and_the_moment() -> None:
    up: list[Event] = [
        {"event": "connected", "call": n, "at_ns": n * 100 * MS, "setup_ms": 1} for n in (1, 2)
    ]
    heard = Heard([*up, report(1, gap(150, 90), gap(300, 70), gap(900, 200)), report(2)], 2)
    assert heard.gap_before_ms(1000 * MS) == 70
    assert heard.gap_before_ms(1100 * MS) == 200
    assert heard.gap_before_ms(0) == 0


def test_silences_are_of_those_that_were_silent_at_the_moment() -> None:
    heard = Heard([report(0, gap(100, 400), gap(600, 900)), report(1, gap(200, 250))], 2)
    assert heard.silences_ms(300 * MS) == [200.0, 150.0]
    assert heard.silences_ms(50 * MS) == []
    assert heard.silences_ms(550 * MS) == []


def test_a_call_is_lost_that_broke_off_and_one_that_was_silent_to_its_end() -> None:
    heard = Heard(
        [
            {"event": "lost", "call": 0, "error": "gone"},
            report(0, gap(0, 9000, is_open=True), error="gone"),
            report(1, gap(0, 2000, is_open=True)),
            report(2, gap(0, 100, is_open=True)),
            report(3, gap(0, 2000)),
        ],
        4,
    )
    assert heard.losses == [
        "call 0 broke off: gone",
        "call 1 heard nothing any more for its last 2000 ms",
    ]


def test_sums_are_of_all_that_had_a_path() -> None:
    heard = Heard([report(0, lost=3), report(1), NEVER_UP], 3)
    assert (heard.packets_lost, heard.remote_lost, heard.packets) == (5, 2, 198)
    assert (heard.moves, heard.restarts) == (2, 4)


def test_failures_are_told_with_their_reason() -> None:
    heard = Heard([{"event": "failed", "call": 4, "error": "signaling: refused"}], 5)
    assert heard.failures == ["call 4 was not set up: signaling: refused"]


def test_set_up_times_are_those_of_calls_that_were_up() -> None:
    events = [{"event": "connected", "call": n, "setup_ms": 10.0 * n} for n in (3, 1, 2)]
    assert Heard(events, 3).setups_ms == [30.0, 10.0, 20.0]


@pytest.mark.parametrize(("percent", "value"), [(0, 1), (50, 5), (95, 10), (100, 10)])
def test_percentiles_are_values_that_there_are(percent: int, value: int) -> None:
    assert percentile([float(n) for n in range(10, 0, -1)], percent) == value


def test_of_nothing_there_is_no_percentile_that_would_meet_a_bar() -> None:
    assert math.isnan(percentile([], 95))

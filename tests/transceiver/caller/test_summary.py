"""What a crowd comes to."""

from __future__ import annotations

import dataclasses
import json

import pytest

from tests.paths import ROOT
from tests.transceiver.caller.test_report import ANSWERED, QUALITY, SETUP
from transceiver.caller.report import Report, Setup, TurnReport
from transceiver.caller.spread import Spread
from transceiver.caller.summary import (
    Event,
    EventKind,
    Summary,
    render_event,
    render_summary,
    summarise,
)


def report(setup_ms: float | None, **changes: object) -> Report:
    setup = dataclasses.replace(SETUP, total_ms=setup_ms)
    return dataclasses.replace(ANSWERED, setup=setup, **changes)  # type: ignore[arg-type]


NEVER_UP = report(None, answered=False, error="ice: nobody", quality=None, turns=[])
LOST = report(
    30.0,
    answered=False,
    error="conversation: the call broke off: gone",
    quality=dataclasses.replace(QUALITY, longest_gap_ms=5000.0, remote_lost=2),
    moves=2,
    restarts=1,
    turns=[TurnReport(None, 0)],
)


def test_sums_are_of_the_calls_that_were_up_and_percentiles_of_what_was_measured() -> None:
    summary = summarise([report(10.0), report(20.0), LOST, NEVER_UP], lost=1, was_interrupted=True)
    assert (summary.calls, summary.connected, summary.lost, summary.answered) == (4, 3, 1, 2)
    assert summary.was_interrupted
    assert summary.setup_ms == Spread(20.0, 30.0, 30.0)
    assert summary.response_ms == Spread(260.0, 260.0, 260.0)
    assert summary.longest_gap_ms == 5000.0
    assert (summary.packets_received, summary.packets_lost) == (3 * 280, 3 * 7)
    assert (summary.packets_sent, summary.remote_lost) == (3 * 287, 2)
    assert (summary.moves, summary.restarts) == (2, 1)


@pytest.mark.parametrize(
    ("count", "p50", "p95"),
    [(1, 1, 1), (2, 1, 2), (20, 10, 19), (21, 11, 20), (100, 50, 95), (200, 100, 190)],
)
def test_percentiles_are_figures_that_were_measured(count: int, p50: float, p95: float) -> None:
    assert Spread.of([float(n) for n in range(count, 0, -1)]) == Spread(p50, p95, count)


def test_nothing_measured_is_nothing() -> None:
    summary = summarise([NEVER_UP], lost=0, was_interrupted=False)
    assert (summary.setup_ms, summary.response_ms, summary.longest_gap_ms) == (None, None, 0.0)
    assert "set-up       —" in render_summary(summary)


def test_json_has_every_field_and_the_page_names_each() -> None:
    summary = summarise([report(10.0)], lost=0, was_interrupted=False)
    plain = json.loads(json.dumps(summary.as_json()))
    names = [field.name for kind in (Summary, Spread) for field in dataclasses.fields(kind)]
    assert set(plain) == {field.name for field in dataclasses.fields(Summary)}
    assert plain["setup_ms"] == {"p50": 10.0, "p95": 10.0, "longest": 10.0}
    page = (ROOT / "docs" / "call.md").read_text()
    assert [name for name in (*names, *EventKind) if f"`{name}`" not in page] == []


def test_an_event_is_one_flat_object() -> None:
    event = Event(EventKind.FAILED, 5, 3, {"error": "ice: nobody"})
    assert event.as_json() == {"event": "failed", "at_ns": 5, "call": 3, "error": "ice: nobody"}
    assert "call" not in Event(EventKind.REBOUND, 5, None, {"calls": 2}).as_json()


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (Event(EventKind.ALL_CONNECTED, 0, None, {"calls": 4, "connected": 3}), "3 of 4 calls are up"),
        (Event(EventKind.LOST, 0, 2, {"error": "gone"}), "call 2 is lost: gone"),
        (Event(EventKind.FAILED, 0, 2, {"error": "no"}), "call 2 was not set up: no"),
        (Event(EventKind.REBOUND, 0, None, {"calls": 4}), "other ports"),
        (Event(EventKind.CONNECTED, 0, 2, {"setup_ms": 3.0}), ""),
        (Event(EventKind.REPORT, 0, 2), ""),
    ],
)
def test_people_are_told_what_is_worth_a_line(event: Event, said: str) -> None:
    line = render_event(event)
    assert said in line
    assert bool(line) == bool(said)


def test_people_see_how_all_went() -> None:
    text = render_summary(summarise([report(10.0), LOST, NEVER_UP], lost=1, was_interrupted=False))
    assert "3: 2 set up, 1 of them lost" in text
    assert "5000 ms" in text
    assert "2 times to another candidate, ICE restarted 1 times" in text


def test_a_call_that_stopped_half_way_has_no_set_up_time() -> None:
    half = dataclasses.replace(NEVER_UP, setup=Setup(3.0, 2.0, None, None, None))
    assert summarise([half], lost=0, was_interrupted=False).connected == 0

"""What is read of a call's own words, and how it is judged."""

from __future__ import annotations

import dataclasses
import json

import pytest

from tests.acceptance.calls import Told, told, without_loss
from tests.acceptance.errors import UnmetError

# Of `voxpop call --calls 1 --json`, hung up; what is not read is left out.
LINES = [
    '{"event": "connected", "at_ns": 50520483749715, "call": 0, "setup_ms": 57.1, "vip": "127.0.0.1:52096"}',
    '{"event": "all_connected", "at_ns": 50520483836414, "calls": 1, "connected": 1}',
    '{"event": "report", "at_ns": 50528047641355, "call": 0, "answered": true, "error": null, "pop": "demo", '
    '"quality": {"packets_sent": 377, "packets_received": 366, "packets_lost": 0, "loss_percent": 0.0, '
    '"concealed_ms": 240, "longest_gap_ms": 174.8, "remote_lost": 0}, "moves": 0, "restarts": 0}',
    '{"event": "summary", "at_ns": 50528066895867, "calls": 1, "connected": 1, "lost": 0}',
]
CALL = Told(
    seconds=7.56389164, error=None, received=366, sent=377, lost=0, remote_lost=0, moves=0, restarts=0,
    longest_gap_ms=174.8,
)  # fmt: skip


def test_a_call_is_read_from_its_lines() -> None:
    assert told(LINES) == CALL


FAILED = {"event": "failed", "at_ns": 1, "call": 0, "error": "ice: nobody answers"}
UNHEARD = {"event": "report", "at_ns": 2, "error": "ice: nobody answers", "quality": None}


@pytest.mark.parametrize(
    "lines", [[], LINES[:2], [json.dumps(FAILED), json.dumps(UNHEARD)]], ids=["none", "no report", "failed"]
)
def test_lines_of_no_call_are_told_apart(lines: list[str]) -> None:
    with pytest.raises(UnmetError, match="this tells of no call"):
        told(lines)


def test_a_call_that_missed_nothing_is_told_with_what_it_heard() -> None:
    assert without_loss(CALL) == "a call of 8 s: 366 packets heard, 377 sent, none lost"


@pytest.mark.parametrize(
    "change",
    [
        {"lost": 1},
        {"remote_lost": 1},
        {"moves": 1},
        {"restarts": 1},
        {"received": 0},
        {"error": "conversation: it ended"},
    ],
    ids=lambda change: "".join(change),
)
def test_a_call_that_was_disturbed_is_no_good(change: dict[str, object]) -> None:
    with pytest.raises(UnmetError, match="was disturbed"):
        without_loss(dataclasses.replace(CALL, **change))  # type: ignore[arg-type]

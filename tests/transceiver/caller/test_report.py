"""What people and machines read of a call."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from tests.paths import ROOT
from transceiver.caller.budget import TurnBudget
from transceiver.caller.report import (
    MAX_EVENTS_SHOWN,
    GapReport,
    Quality,
    Report,
    Setup,
    TurnReport,
    missing_at_end,
    render,
)
from transceiver.caller.spread import Spread
from transceiver.caller.steering import SteeredPop, SteeringReport

SETUP = Setup(3.4, 1.7, 2.5, 1.3, 8.9)
QUALITY = Quality(
    ice_rtt_ms=0.59,
    rtcp_rtt_ms=None,
    jitter_ms=0.5,
    buffer_ms=39.1,
    packets_sent=287,
    packets_received=280,
    packets_lost=7,
    loss_percent=2.44,
    concealed_ms=140,
    longest_gap_ms=24.5,
    remote_lost=0,
    remote_jitter_ms=0.4,
    gaps=[GapReport(at_ns=5_000_000_000, ms=80.0, lost=3, is_open=False)],
)
STEERING = SteeringReport("database", "nearest", [SteeredPop("nrt", 12.0), SteeredPop("fra", None)])
BUDGET = TurnBudget(
    {"jitter_buffer": 30.0, "end_of_turn": 160.0, "rest": -2.5}, "last_word", None, {"in_between": 12.0}
)
ANSWERED = Report(
    answered=True,
    error=None,
    session="rtc_0-a",
    pop="fra",
    forwarder="xdp",
    vip="192.0.2.1:3478",
    local_address="203.0.113.5:40000",
    setup=SETUP,
    quality=QUALITY,
    turns=[TurnReport(260.0, 2240)],
    response_bar_ms=300,
    moves=0,
    events=[{"at_ms": 12.0, "type": "session.created"}, {"at_ms": 14.0, "type": "conversation.item.added"}],
)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "answered"),
        ({}, "8.9 ms = signaling 3.4 + ICE 1.7 + DTLS 2.5 + first audio 1.3"),
        ({}, "PoP fra, forwarder xdp, VIP 192.0.2.1:3478 (from 203.0.113.5:40000)"),
        ({}, "0.59 ms by ICE check, — ms by RTCP"),
        ({}, "280 packets, 7 lost (2.44 %)"),
        ({}, "answered 260 ms after speech ended, within the bar of 300; 2.2 s of sound"),
        ({}, "12 ms  session.created"),
        ({}, "1 more with --json"),
        (
            {"turns": [TurnReport(187.5, 20, BUDGET)]},
            "= jitter buffer 30.0 + end of turn 160.0 + rest -2.5\n",
        ),
        ({"turns": [TurnReport(187.5, 20, BUDGET)]}, "  backend: in between 12.0\n"),
        (
            {"turns": [TurnReport(187.5, 20, BUDGET)] * 2, "stages_ms": {"playout": Spread(1, 2, 3)}},
            "stages      own buffer    p50 1.0, p95 2.0 ms\n",
        ),
        ({"moves": 2}, "moved 2 times"),
        ({"referred_to": "https://us.example"}, "referred to https://us.example"),
        ({"steering": STEERING}, "steered to  nrt (nearest by our address, 12 km), then fra"),
        ({"pop": None}, "an unnamed PoP"),
        ({"turns": [TurnReport(301.0, 0)]}, "over the bar"),
        ({"turns": [TurnReport(None, 0)]}, "no answer"),
        ({"answered": False}, "connected, but no answer was heard"),
        ({"answered": False, "error": "ice: nobody"}, "failed: ice: nobody"),
        ({"setup": Setup(3.4, None, None, None, None)}, "— ms = signaling 3.4 + ICE —"),
        ({"events": [{"at_ms": 1.0, "type": "error"}] * 99}, f"{99 - MAX_EVENTS_SHOWN} more with --json"),
    ],
)
def test_the_text_says(changes: dict[str, Any], expected: str) -> None:
    assert expected in render(dataclasses.replace(ANSWERED, **changes))


def test_what_never_was_is_left_out() -> None:
    bare = dataclasses.replace(ANSWERED, vip=None, quality=None, turns=[], events=[])
    assert [line.split()[0] for line in render(bare).splitlines()] == ["call", "set-up"]


def test_json_has_every_field() -> None:
    report = json.loads(json.dumps(ANSWERED.as_json()))
    assert set(report) == {field.name for field in dataclasses.fields(Report)}
    assert report["quality"]["rtcp_rtt_ms"] is None
    assert report["quality"]["gaps"] == [{"at_ns": 5_000_000_000, "ms": 80.0, "lost": 3, "is_open": False}]
    assert report["steering"] is report["referred_to"] is None
    steered = json.loads(json.dumps(dataclasses.replace(ANSWERED, steering=STEERING).as_json()))["steering"]
    assert steered == {
        "source": "database",
        "why": "nearest",
        "pops": [{"pop": "nrt", "km": 12.0}, {"pop": "fra", "km": None}],
    }
    assert report["turns"] == [{"response_ms": 260.0, "answer_ms": 2240, "budget": None}]


def test_the_page_about_it_names_every_key() -> None:
    page = (ROOT / "docs" / "call.md").read_text()
    names = [
        field.name
        for kind in (Report, Quality, GapReport, Setup, TurnReport, TurnBudget)
        for field in dataclasses.fields(kind)
    ]
    spoken_of = {"packets_received": "…_received", "packets_lost": "…_lost"}
    assert [name for name in names if f"{spoken_of.get(name, name)}" not in page] == []


@pytest.mark.parametrize(("gap_ms", "packets"), [(0, 0), (20, 0), (240, 0), (260, 12), (10_000, 499)])
def test_packets_that_never_came_are_counted_once_they_are_too_late(gap_ms: int, packets: int) -> None:
    assert missing_at_end(gap_ms * 1_000_000) == packets

"""Where the time of a turn went, when a backend behind a WebSocket answers it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from tests.sound import silence
from tests.tones import pitch, voice
from tests.transceiver.backends.realtime.wire import Wire
from transceiver.media import FRAME_NS

MS = 1_000_000
SILENCE_MS = 200
QUICK = {"turn_detection": {"type": "server_vad", "silence_duration_ms": SILENCE_MS}}
KEEPS_ON = {"turn_detection": {**QUICK["turn_detection"], "interrupt_response": False}}
SPEECH = voice(pitch(0), 0.5)


@dataclass
class Steady:
    """A way on which every frame is 25 ms old when it is heard."""

    arrived_ns: int | None = None
    packing_ns: int = 0
    round_trip_ns: int | None = 30 * MS
    leaving_ns: int = 7 * MS


class Timed(Wire):
    """Its frames come by a `Steady` way."""

    def __init__(self, session: Mapping[str, object], turns: str = "ours") -> None:
        self.steady = Steady()
        super().__init__(session, way=self.steady, turns=turns)

    def tick(self, pcm: bytes = bytes(960)) -> bytes | None:
        self.steady.arrived_ns = (len(self.spoken) + 1) * FRAME_NS - 25 * MS
        return super().tick(pcm)

    def turn(self) -> None:
        """Speak, and fall silent until the turn is over."""
        self.speak(SPEECH)
        self.wait(SILENCE_MS)

    def budgets(self) -> list[dict[str, Any]]:
        told = [event["voxpop"] for event in self.client if event["type"] == "output_audio_buffer.started"]
        assert all(isinstance(each, dict) for each in told)
        return [each.get("budget", {}) for each in told]  # type: ignore[attr-defined]


USUAL = {
    "since": "last_word",
    "network_ms": 15.0,
    "jitter_buffer_ms": 25.0,
    "end_of_turn_ms": 200.0,
    "backend_ms": 103.0,
    "pacing_ms": 17.0,
    "way_out_ms": 22.0,
    "total_ms": 382.0,
    "round_trip_ms": 30.0,
}


def answer(wire: Timed, after_ms: int = 100, number: int = 1) -> None:
    """The backend's first audio, 3 ms after a tick."""
    wire.wait(after_ms)
    wire.respond(number)
    wire.late_ns = 3 * MS
    wire.delta(100, number)
    wire.late_ns = 0
    wire.done(number)
    wire.wait(200)


def test_every_stage_of_an_answer_is_told() -> None:
    wire = Timed(QUICK)
    wire.turn()
    answer(wire)
    assert wire.budgets() == [USUAL]


def test_a_slow_backend_is_seen_in_its_own_stage_alone() -> None:
    wire = Timed(QUICK)
    wire.turn()
    answer(wire, after_ms=300)
    assert wire.budgets() == [{**USUAL, "backend_ms": 303.0, "total_ms": 582.0}]


def test_a_slow_end_of_turn_is_seen_in_its_own_stage_alone() -> None:
    wire = Timed({"turn_detection": {"type": "server_vad", "silence_duration_ms": 400}})
    wire.turn()
    wire.wait(200)
    answer(wire)
    assert wire.budgets() == [{**USUAL, "end_of_turn_ms": 400.0, "total_ms": 582.0}]


def test_audio_that_comes_in_drops_is_paced() -> None:
    wire = Timed(QUICK)
    wire.turn()
    wire.wait(100)
    wire.respond()
    wire.delta(20)
    wire.wait(60)
    wire.delta(100)
    wire.wait(40)
    (budget,) = wire.budgets()
    assert (budget["backend_ms"], budget["pacing_ms"]) == (100.0, 80.0)


def test_a_turn_that_breaks_in_before_the_answer_gets_the_budget_of_its_own_answer() -> None:
    wire = Timed(QUICK)
    wire.turn()
    wire.respond(1)
    wire.turn()
    wire.done(1, "cancelled")
    answer(wire, number=2)
    assert wire.budgets() == [USUAL]


def test_one_answer_to_two_turns_is_measured_from_the_second() -> None:
    wire = Timed(KEEPS_ON)
    wire.turn()
    wire.respond(1)
    wire.delta(100, 1)
    wire.turn()
    wire.wait(60)
    wire.turn()
    wire.done(1)
    answer(wire, number=2)
    first, second = wire.budgets()
    assert (first["backend_ms"], first["end_of_turn_ms"]) == (0.0, 200.0)
    assert second == USUAL


def test_an_answer_that_waits_for_another_waits_for_the_backend() -> None:
    wire = Timed(KEEPS_ON)
    wire.turn()
    wire.respond(1)
    wire.turn()
    wire.wait(80)
    wire.done(1)
    answer(wire, after_ms=20, number=2)
    assert wire.budgets() == [USUAL]


def test_turns_without_an_answer_and_answers_without_a_turn_have_none() -> None:
    wire = Timed(QUICK)
    wire.turn()
    wire.respond(1)
    wire.done(1)
    assert wire.budgets() == [], "the backend had nothing to say"
    wire.ask("response.create", event_id="c1")
    answer(wire, number=2)
    assert wire.budgets() == [{}]


def test_of_turns_that_are_the_backends_what_is_before_its_word_is_absent() -> None:
    wire = Timed(QUICK, turns="backend")
    wire.speak(SPEECH)
    wire.say("input_audio_buffer.speech_started", item_id="item_1", audio_start_ms=0)
    wire.speak(silence(200))
    wire.say("input_audio_buffer.speech_stopped", item_id="item_1", audio_end_ms=700)
    answer(wire)
    known = ("backend_ms", "pacing_ms", "way_out_ms", "round_trip_ms")
    assert wire.budgets() == [
        {"since": "speech_stopped", **{name: USUAL[name] for name in known}, "total_ms": 142.0}
    ]
    assert wire.observer.turns == []


def test_what_a_backend_says_more_to_the_same_turn_has_no_budget() -> None:
    wire = Timed(QUICK, turns="backend")
    wire.say("input_audio_buffer.speech_stopped", item_id="item_1", audio_end_ms=700)
    answer(wire)
    answer(wire, number=2)
    assert [bool(each) for each in wire.budgets()] == [True, False]


@pytest.mark.parametrize("kind", ["speech_started", "lost"])
def test_a_turn_of_the_backends_that_is_not_answered_leaves_nothing_for_the_next(kind: str) -> None:
    wire = Timed(QUICK, turns="backend")
    wire.say("input_audio_buffer.speech_stopped", item_id="item_1", audio_end_ms=700)
    if kind == "lost":
        wire.bridge.lost()
        wire.bridge.connected()
    else:
        wire.say("input_audio_buffer.speech_started", item_id="item_2", audio_start_ms=800)
    answer(wire)
    assert wire.budgets() == [{}]

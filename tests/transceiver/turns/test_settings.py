"""The `turn_detection` that clients ask for."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from core.errors import ConfigError
from transceiver.turns.settings import (
    SemanticVad,
    ServerVad,
    TurnDetection,
    read_turn_detection,
    wire_turn_detection,
)


def test_the_defaults_are_those_of_the_realtime_api() -> None:
    assert wire_turn_detection(ServerVad()) == {
        "type": "server_vad",
        "threshold": 0.5,
        "prefix_padding_ms": 300,
        "silence_duration_ms": 500,
        "create_response": True,
        "interrupt_response": True,
    }


def ga(turn_detection: object) -> dict[str, object]:
    return {"type": "realtime", "audio": {"input": {"turn_detection": turn_detection}}}


@pytest.mark.parametrize("wrap", [ga, lambda settings: {"turn_detection": settings}])
@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (None, None),
        ({}, ServerVad()),
        ({"type": "server_vad"}, ServerVad()),
        ({"silence_duration_ms": 500}, ServerVad(silence_duration_ms=500)),
        ({"type": "server_vad", "threshold": 1, "create_response": None}, ServerVad(threshold=1.0)),
        ({"type": "server_vad", "idle_timeout_ms": None}, ServerVad()),
        ({"type": "server_vad", "interrupt_response": False}, ServerVad(interrupt_response=False)),
        ({"type": "semantic_vad"}, SemanticVad()),
        ({"type": "semantic_vad", "eagerness": "low"}, SemanticVad(eagerness="low")),
    ],
)
def test_settings_are_read(wrap: object, wanted: object, expected: TurnDetection | None) -> None:
    assert callable(wrap)
    assert read_turn_detection(wrap(wanted), ServerVad()) == expected


@pytest.mark.parametrize(
    "session", [{}, {"audio": None}, {"audio": {"input": None}}, {"audio": {"input": {}}}]
)
def test_a_session_that_does_not_speak_of_turns_changes_nothing(session: Mapping[str, object]) -> None:
    current = ServerVad(threshold=0.9)
    assert read_turn_detection(session, current) is current
    assert read_turn_detection(session, None) is None


def test_an_update_keeps_what_it_does_not_name() -> None:
    current = ServerVad(threshold=0.9, silence_duration_ms=300)
    changed = read_turn_detection(ga({"silence_duration_ms": 400}), current)
    assert changed == ServerVad(threshold=0.9, silence_duration_ms=400)
    assert read_turn_detection(ga({"type": "semantic_vad"}), current) == SemanticVad()


PATH = "session.audio.input.turn_detection"


@pytest.mark.parametrize(
    ("session", "problem"),
    [
        (ga({"threshold": 1.5}), f"{PATH}.threshold must be a number, 0–1"),
        (ga({"threshold": "loud"}), f"{PATH}.threshold must be a number, 0–1"),
        (
            ga({"silence_duration_ms": 0}),
            f"{PATH}.silence_duration_ms must be a whole number, 20–10000 ms",
        ),
        (ga({"silence_ms": 100}), f"{PATH}.silence_ms is not a setting; did you mean silence_duration_ms?"),
        (ga({"prefix_padding_ms": -1}), f"{PATH}.prefix_padding_ms must be a whole number, 0–2000 ms"),
        (ga({"create_response": 1}), f"{PATH}.create_response must be true or false"),
        (ga({"type": "none"}), f"{PATH}.type must be one of server_vad | semantic_vad"),
        (ga({"type": ["x"]}), f"{PATH}.type must be one of server_vad | semantic_vad"),
        (ga("server_vad"), f"{PATH} must be an object, or null to leave turns to the client"),
        (ga({"type": "semantic_vad", "eagerness": "very"}), f"{PATH}.eagerness must be one of low | "),
        ({"turn_detection": {"threshold": -1}}, "session.turn_detection.threshold must be a number, 0–1"),
        ({"audio": []}, "session.audio must be an object"),
        ({"audio": {"input": 3}}, "session.audio.input must be an object"),
    ],
)
def test_wrong_settings_are_refused_by_name(session: Mapping[str, object], problem: str) -> None:
    with pytest.raises(ConfigError) as refused:
        read_turn_detection(session, ServerVad())
    assert refused.value.problems[0].startswith(problem)


@pytest.mark.parametrize("names", [[f"silence_duratio{n}" for n in range(12_000)], ["s" * 250_000]])
def test_a_flood_of_wrong_settings_costs_one_sentence(names: list[str]) -> None:
    """Half a second of the event loop otherwise, and an error of megabytes."""
    with pytest.raises(ConfigError) as refused:
        read_turn_detection(ga(dict.fromkeys(names, 1)), ServerVad())
    assert len(refused.value.problems) == 1
    assert len(refused.value.problems[0]) < 200


@pytest.mark.parametrize("settings", [None, ServerVad(threshold=0.7), SemanticVad(eagerness="high")])
def test_wire_form_reads_back(settings: TurnDetection | None) -> None:
    assert read_turn_detection(ga(wire_turn_detection(settings)), ServerVad()) == settings

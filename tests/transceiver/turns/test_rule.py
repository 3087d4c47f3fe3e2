"""When a turn begins and ends, and the settings that say so."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import ConfigError
from transceiver.turns.rule import (
    START_VOICED,
    SemanticVad,
    ServerVad,
    Transition,
    TurnDetection,
    TurnRule,
    read_turn_detection,
    to_frames,
    wire_turn_detection,
)


def transitions(voiced: str, silence_duration_ms: int = 100) -> list[tuple[int, str]]:
    rule = TurnRule(silence_duration_ms)
    found = []
    for position, mark in enumerate(voiced):
        transition = rule.push(position, mark == "#")
        if transition is not None:
            found.append((position, transition.value))
    return found


@pytest.mark.parametrize(
    ("voiced", "expected"),
    [
        ("....", []),
        ("..##....##..", []),
        ("..#..#..#..", []),
        ("..###", [(4, "started")]),
        ("..#.##", [(5, "started")]),
        ("..##.#", [(5, "started")]),
        ("###.....", [(2, "started"), (7, "stopped")]),
        ("###....#.....", [(2, "started"), (12, "stopped")]),
        ("###....#....", [(2, "started")]),
        ("###.....###.....", [(2, "started"), (7, "stopped"), (10, "started"), (15, "stopped")]),
        ("##.....###", [(9, "started")]),
    ],
)
def test_turns_start_and_stop_at_exact_frames(voiced: str, expected: list[tuple[int, str]]) -> None:
    assert transitions(voiced) == expected


@pytest.mark.parametrize(("silence_ms", "frames"), [(20, 1), (21, 2), (200, 10), (500, 25), (10_000, 500)])
def test_the_silence_that_ends_a_turn_is_exact(silence_ms: int, frames: int) -> None:
    assert to_frames(silence_ms) == frames
    assert transitions("###" + "." * (frames - 1), silence_ms) == [(2, "started")]
    assert transitions("###" + "." * frames, silence_ms) == [(2, "started"), (2 + frames, "stopped")]


def test_the_rule_knows_where_the_speech_lay() -> None:
    rule = TurnRule(60)
    for position, mark in enumerate("...#.##..#...", start=100):
        rule.push(position, mark == "#")
    assert (rule.first_voiced, rule.after_voiced, rule.in_turn) == (103, 110, False)


def test_an_abandoned_turn_needs_a_whole_new_start() -> None:
    rule = TurnRule(60)
    for position in range(3):
        rule.push(position, True)
    rule.abandon()
    assert [rule.push(position, True) for position in (3, 4, 5)] == [None, None, Transition.STARTED]


@given(st.text(alphabet="#.", max_size=200), st.integers(20, 400))
def test_starts_and_stops_alternate(voiced: str, silence_ms: int) -> None:
    found = transitions(voiced, silence_ms)
    assert [name for _, name in found] == ["started", "stopped"] * (len(found) // 2) + ["started"] * (
        len(found) % 2
    )
    for (start, _), (stop, _) in zip(found[::2], found[1::2], strict=False):
        assert stop - start >= to_frames(silence_ms)
        assert voiced[stop - to_frames(silence_ms) + 1 : stop + 1] == "." * to_frames(silence_ms)
    for start, _ in found[::2]:
        assert voiced[: start + 1].count("#") >= START_VOICED


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

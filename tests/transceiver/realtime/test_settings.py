"""The session object: what a client may ask for, what is in force, what is echoed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import ConfigError
from transceiver.realtime.settings import DEFAULTS, MAX_DEPTH, MAX_SESSION_CHARS, SessionSettings

AGENTS_SDK: dict[str, Any] = {
    "type": "realtime",
    "instructions": "You are helpful.",
    "model": "gpt-realtime-2.1",
    "output_modalities": ["audio"],
    "audio": {
        "input": {
            "format": {"type": "audio/pcm", "rate": 24000},
            "noise_reduction": None,
            "transcription": {"model": "gpt-4o-mini-transcribe"},
            "turn_detection": {"type": "semantic_vad"},
        },
        "output": {"format": {"type": "audio/pcm", "rate": 24000}, "speed": 1},
    },
    "tools": [{"type": "function", "name": "f", "parameters": {"type": "object"}}, {"type": "new_kind"}],
    "tool_choice": "auto",
    "x_provider": {"anything": [1, None]},
}


def updated(*updates: object) -> SessionSettings:
    settings = DEFAULTS
    for update in updates:
        settings = settings.updated(update)
    return settings


def echo(settings: SessionSettings) -> dict[str, Any]:
    return settings.wire("rtc_1")


def test_what_the_agents_sdk_sends_first_is_taken_and_echoed_whole() -> None:
    told = echo(updated(AGENTS_SDK, {"type": "realtime", "tracing": "auto"}))
    assert told["audio"]["input"]["turn_detection"] == {
        "type": "semantic_vad",
        "eagerness": "auto",
        "create_response": True,
        "interrupt_response": True,
    }
    assert (told["tracing"], told["x_provider"], told["tools"]) == (
        "auto",
        AGENTS_SDK["x_provider"],
        AGENTS_SDK["tools"],
    )
    assert (told["object"], told["id"], told["max_output_tokens"]) == ("realtime.session", "rtc_1", "inf")


def test_what_nobody_has_set_is_as_the_api_has_it() -> None:
    told = echo(DEFAULTS)
    assert told["audio"]["input"]["turn_detection"] == {
        "type": "server_vad",
        "threshold": 0.5,
        "prefix_padding_ms": 300,
        "silence_duration_ms": 500,
        "idle_timeout_ms": None,
        "create_response": True,
        "interrupt_response": True,
    }
    assert DEFAULTS.asked == {}


def test_only_members_that_are_present_change_and_empty_ones_clear() -> None:
    full = updated(AGENTS_SDK)
    told = echo(
        updated(AGENTS_SDK, {"instructions": "", "tools": [], "audio": {"input": {"turn_detection": None}}})
    )
    assert (told["instructions"], told["tools"]) == ("", [])
    assert told["audio"]["input"]["turn_detection"] is None
    assert told["audio"]["input"]["transcription"] == echo(full)["audio"]["input"]["transcription"]
    assert told["audio"]["output"] == echo(full)["audio"]["output"]


def test_turn_detection_keeps_what_an_update_leaves_out_while_its_type_stays() -> None:
    settings = updated(
        {"audio": {"input": {"turn_detection": {"type": "server_vad", "threshold": 0.9}}}},
        {"audio": {"input": {"turn_detection": {"silence_duration_ms": 300, "threshold": None}}}},
    )
    assert settings.turn_detection is not None
    assert (settings.turn_detection["threshold"], settings.turn_detection["silence_duration_ms"]) == (
        0.9,
        300,
    )
    other = settings.updated({"audio": {"input": {"turn_detection": {"type": "semantic_vad"}}}})
    assert other.turn_detection is not None
    assert "threshold" not in other.turn_detection


def test_the_strength_of_noise_reduction_stays_while_its_type_does() -> None:
    asked = {"type": "near_field", "strength": 0.3}
    settings = updated(
        {"audio": {"input": {"noise_reduction": asked}}},
        {"audio": {"input": {"noise_reduction": {"type": "near_field"}}}},
    )
    assert echo(settings)["audio"]["input"]["noise_reduction"] == asked


def test_the_betas_place_of_turn_detection_is_understood() -> None:
    settings = updated({"turn_detection": {"type": "server_vad", "silence_duration_ms": 160}})
    assert settings.turn_detection is not None
    assert settings.turn_detection["silence_duration_ms"] == 160
    assert "turn_detection" not in echo(settings)
    assert updated({"turn_detection": None}).turn_detection is None


def test_what_was_asked_for_is_kept_apart_from_what_is_default() -> None:
    settings = updated({"audio": {"output": {"voice": "marin"}}}, {"instructions": "Hi", "id": "mine"})
    assert settings.asked == {"instructions": "Hi", "audio": {"output": {"voice": "marin"}}}
    assert settings.select({"audio": {"input": {"format": 1}}}) == {
        "audio": {"input": {"format": {"type": "audio/pcm", "rate": 24000}}}
    }


@pytest.mark.parametrize("kind", ["audio/pcm", "audio/pcmu", "audio/pcma"])
def test_the_formats_of_the_api_are_taken(kind: str) -> None:
    told = echo(updated({"audio": {"input": {"format": {"type": kind}}}}))
    assert told["audio"]["input"]["format"]["type"] == kind


FAULTS: list[tuple[object, str]] = [
    (None, "session must be an object"),
    ({"type": "x"}, "session.type must be one of realtime | transcription"),
    ({"instructions": 1}, "session.instructions must be text"),
    ({"output_modalities": ["audio", "text"]}, 'session.output_modalities must be ["audio"] or ["text"]'),
    ({"max_output_tokens": 0}, 'session.max_output_tokens must be a whole number, 1–4096, or "inf"'),
    ({"tools": {}}, "session.tools must be an array of objects"),
    ({"tool_choice": "x"}, "session.tool_choice must be one of auto | none | required, or an object"),
    ({"tracing": 1}, "session.tracing must be one of auto, or an object"),
    ({"include": [1]}, "session.include must be an array of texts"),
    ({"audio": []}, "session.audio must be an object"),
    ({"audio": {"input": 1}}, "session.audio.input must be an object"),
    ({"audio": {"output": {"speed": 2}}}, "session.audio.output.speed must be a number, 0.25–1.5"),
    (
        {"audio": {"output": {"voice": 1}}},
        "session.audio.output.voice must be a name, or an object with an id",
    ),
    (
        {"audio": {"input": {"format": {"type": "opus"}}}},
        "session.audio.input.format must be an object whose type is one of "
        "audio/pcm | audio/pcmu | audio/pcma",
    ),
    (
        {"audio": {"input": {"format": {"type": "audio/pcm", "rate": 8000}}}},
        "session.audio.input.format must have 24000 as rate",
    ),
    (
        {"audio": {"input": {"turn_detection": {"threshold": 2}}}},
        "session.audio.input.turn_detection has threshold, which must be a number, 0–1",
    ),
    (
        {"turn_detection": {"type": "x"}},
        "session.audio.input.turn_detection must have a type that is one of server_vad | semantic_vad",
    ),
]


@pytest.mark.parametrize(("update", "problem"), FAULTS, ids=range(len(FAULTS)))
def test_a_fault_names_its_member(update: object, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        DEFAULTS.updated(update)
    assert caught.value.problems == [problem]


def test_every_fault_is_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        DEFAULTS.updated({"type": 1, "audio": {"output": {"speed": 9, "voice": 1}}})
    assert len(caught.value.problems) == 3


def test_it_does_not_grow_without_end() -> None:
    settings = updated(*({f"x_{number}": "y" * 5000} for number in range(26)))
    assert len(json.dumps(settings.members)) <= MAX_SESSION_CHARS
    with pytest.raises(ConfigError, match="is longer than"):
        settings.updated({"x_26": "y" * 5000})
    deep: object = {}
    for _ in range(MAX_DEPTH + 1):
        deep = {"x": deep}
    with pytest.raises(ConfigError, match="nested deeper"):
        DEFAULTS.updated(deep)


KEYS = ["type", "audio", "input", "output", "format", "turn_detection", "voice", "speed", "tools", "x"]
values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 5000) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)


def problems_of(settings: SessionSettings, update: object) -> tuple[SessionSettings, list[str]]:
    try:
        return settings.updated(update), []
    except ConfigError as error:
        return settings, error.problems


@given(st.lists(values, max_size=4))
def test_any_json_is_taken_whole_or_refused_in_words(updates: list[object]) -> None:
    settings = DEFAULTS
    for update in updates:
        settings, problems = problems_of(settings, update)
        assert all(problem.startswith("session") for problem in problems)
    assert DEFAULTS.updated(settings.asked).members == settings.members, "what was asked for says it all"

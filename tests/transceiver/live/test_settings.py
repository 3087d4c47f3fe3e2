"""transceiver.live.settings: what a client wants, and what of it nobody here can do."""

from __future__ import annotations

from typing import Any

import pytest

from core.errors import ConfigError
from transceiver.live.settings import MAX_CHARS, MAX_ITEMS, read_live_settings_untrusted
from transceiver.realtime.permissions import EVERYTHING, Permissions
from transceiver.realtime.settings import DEFAULTS

MODEL = {"model": "gpt-live-1"}
HISTORY = [
    {"role": "developer", "content": [{"type": "input_text", "text": "It is raining."}]},
    {"type": "message", "role": "user", "content": [{"text": "Hello"}], "id": "a", "status": "completed"},
    {"role": "assistant", "content": [{"type": "output_text", "text": "Good day."}]},
    {"role": "assistant", "content": [{"type": "text", "text": "How are you?"}]},
]


def problems(session: object) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read_live_settings_untrusted(session)
    return list(caught.value.problems)


def test_the_least_is_a_model_and_the_rest_has_the_defaults_of_the_api() -> None:
    read = read_live_settings_untrusted(MODEL)
    assert read.resource() == {"model": "gpt-live-1", "store": False, "delegation": {"type": "client"}}
    assert read.permissions is EVERYTHING or read.permissions == EVERYTHING
    assert read.history() == []


def test_all_that_there_is_goes_to_the_backend_in_its_words() -> None:
    session = {
        **MODEL,
        "type": "live",
        "instructions": "Be brief.",
        "audio": {"output": {"voice": "marin"}},
        "input": HISTORY,
        "safety_identifier": "user-7",
        "store": False,
        "triggers": [],
        "delegation": {"type": "client", "acknowledgement_delay_ms": 0},
    }
    read = read_live_settings_untrusted(session)
    theirs = read.realtime()
    assert theirs == {
        "type": "realtime",
        "model": "gpt-live-1",
        "instructions": "Be brief.",
        "audio": {"input": {"transcription": {}}, "output": {"voice": "marin"}},
    }
    assert DEFAULTS.updated(theirs).model == "gpt-live-1", "it is a session object of the Realtime API"
    assert [(item["role"], item["content"][0]) for item in map(dict[str, Any], read.history())] == [
        ("system", {"type": "input_text", "text": "It is raining."}),
        ("user", {"type": "input_text", "text": "Hello"}),
        ("assistant", {"type": "output_text", "text": "Good day."}),
        ("assistant", {"type": "output_text", "text": "How are you?"}),
    ]
    assert read.resource() == {key: value for key, value in session.items() if key != "type"}


def test_null_and_blank_are_as_if_they_were_not_there() -> None:
    nothing = {
        "instructions": " ",
        "delegation": None,
        "store": None,
        "safety_identifier": None,
        "client": None,
    }
    assert read_live_settings_untrusted({**MODEL, **nothing}) == read_live_settings_untrusted(MODEL)


def test_permissions_are_read_in_the_form_of_the_api_and_echoed() -> None:
    lists = {
        "allowed_client_events": ["session.input_audio.mute"],
        "allowed_server_events": [
            {"type": "session.started"},
            {"type": "response.event", "response_event": "response.completed"},
        ],
    }
    read = read_live_settings_untrusted({**MODEL, "client": {"data_channel": lists}})
    sees = frozenset({"session.started", "response.event response.completed"})
    assert read.permissions == Permissions(frozenset({"session.input_audio.mute"}), sees)
    assert read.resource()["client"] == {"data_channel": lists}
    both = {"allowed_client_events": "all", "allowed_server_events": "all"}
    assert read_live_settings_untrusted({**MODEL, "client": {"data_channel": both}}).permissions == EVERYTHING


@pytest.mark.parametrize(
    ("session", "begin"),
    [
        (None, "session must be an object"),
        ({}, "session.model is required"),
        ({"model": " "}, "session.model must be text"),
        ({**MODEL, "type": "realtime"}, "session.type must be 'live'"),
        ({**MODEL, "voice": "marin"}, "session.voice is not a member of it"),
        ({**MODEL, "tools": []}, "session.tools is not a member of it"),
        ({**MODEL, "instructions": 1}, "session.instructions must be text"),
        ({**MODEL, "audio": {"format": {"type": "audio/pcmu"}}}, "session.audio.format is for WebSockets"),
        ({**MODEL, "audio": {"input": {}}}, "session.audio.input is not a member"),
        ({**MODEL, "audio": {"output": {"voice": 1}}}, "session.audio.output.voice must be a name"),
        ({**MODEL, "store": True}, "session.store is not supported here"),
        ({**MODEL, "store": "yes"}, "session.store must be true or false"),
        ({**MODEL, "triggers": [{}]}, "session.triggers is not supported here"),
        (
            {**MODEL, "delegation": {"type": "responses"}},
            "session.delegation.type responses is not supported",
        ),
        (
            {**MODEL, "delegation": {"type": "decisions"}},
            "session.delegation.type decisions is not supported",
        ),
        ({**MODEL, "delegation": {"type": "x"}}, "session.delegation.type must be one of"),
        (
            {**MODEL, "delegation": {"type": "client", "acknowledgement_delay_ms": -1}},
            "session.delegation.acknowledgement_delay_ms must be",
        ),
        ({**MODEL, "client": {"channel": {}}}, "session.client may have data_channel"),
        ({**MODEL, "input": [HISTORY[0]] * (MAX_ITEMS + 1)}, "session.input must be a list of at most"),
        ({**MODEL, "input": [HISTORY[0], {"role": "system"}]}, "session.input[1] must be a message"),
        ({**MODEL, "input": [{"role": ["user"], "content": []}]}, "session.input[0] must be a message"),
        ({**MODEL, "input": [{"role": "user", "content": [{"text": "a"}] * 2}]}, "session.input[0] must be"),
        ({**MODEL, "instructions": "x" * MAX_CHARS}, "session is longer than"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_is_named(session: object, begin: str) -> None:
    (problem,) = problems(session)
    assert problem.startswith(begin)


def test_every_fault_is_told_at_once() -> None:
    assert len(problems({**MODEL, "store": True, "voice": "marin", "triggers": [1]})) == 3


def test_deep_nesting_is_refused_without_a_walk_to_its_end() -> None:
    nested: object = 1
    for _ in range(5000):
        nested = [nested]
    assert problems({**MODEL, "input": nested}) == ["session is nested deeper than 16"]


def test_an_update_changes_the_delegation_and_nothing_else() -> None:
    read = read_live_settings_untrusted({**MODEL, "instructions": "Be brief."})
    changed = read.updated(
        {"delegation": {"type": "client", "acknowledgement_delay_ms": 200}, "triggers": []}
    )
    assert changed.resource()["delegation"] == {"type": "client", "acknowledgement_delay_ms": 200}
    assert changed.updated({"delegation": None}).delegation == changed.delegation
    assert changed.resource()["instructions"] == "Be brief."
    for update, begin in (
        ({"instructions": "Be long."}, "session.instructions is fixed"),
        ({"client": None}, "session.client is fixed"),
        ({"delegation": {"type": "responses"}}, "session.delegation.type responses is not supported"),
        ({"voice": "x"}, "session.voice is not a member"),
        ("x", "session must be an object"),
    ):
        with pytest.raises(ConfigError) as caught:
            read.updated(update)
        assert caught.value.problems[0].startswith(begin)

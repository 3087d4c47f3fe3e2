"""The words of the protocol, of either version."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import BackendError
from transceiver.backends.realtime.dialect import (
    GA_NAMES,
    Dialect,
    decode_server_event_untrusted,
    encode_client_event,
    session_update,
)
from transceiver.backends.realtime.formats import FORMATS
from transceiver.realtime.json_text import MAX_DEPTH


def decoded(**event: object) -> dict[str, Any]:
    return decode_server_event_untrusted(json.dumps(event))


@pytest.mark.parametrize(("beta", "ga"), GA_NAMES.items())
def test_events_of_the_beta_have_their_later_names(beta: str, ga: str) -> None:
    assert decoded(type=beta, delta="x") == {"type": ga, "delta": "x"}


def test_content_parts_of_the_assistant_have_their_later_names() -> None:
    item = {
        "id": "i",
        "role": "assistant",
        "content": [{"type": "audio", "transcript": "x"}, {"type": "text"}],
    }
    parts = [{"type": "output_audio", "transcript": "x"}, {"type": "output_text"}]
    assert decoded(type="response.output_item.done", item=item)["item"]["content"] == parts
    done = decoded(type="response.done", response={"id": "r", "output": [item, 7]})
    assert done["response"]["output"] == [{**item, "content": parts}, 7]
    theirs = {"id": "i", "role": "user", "content": [{"type": "text"}]}
    assert decoded(type="conversation.item.added", item=theirs)["item"] == theirs


def test_what_was_heard_has_a_transcript_though_it_be_none() -> None:
    heard: dict[str, object] = {"type": "input_audio"}
    known: dict[str, object] = {"type": "input_audio", "transcript": "x"}
    item = {"id": "i", "role": "user", "content": [heard, known, 7]}
    parts = [{**heard, "transcript": None}, known, 7]
    assert decoded(type="conversation.item.added", item=item)["item"]["content"] == parts


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", "7", '{"type": 1}', '{"type": "x", "y": NaN}', "[" * 10**5, '{"a": 1}', '"type"'],
    ids=range(10),
)
def test_what_is_no_event_is_refused(text: str) -> None:
    with pytest.raises(BackendError):
        decode_server_event_untrusted(text)


def test_what_is_nested_too_deep_is_refused() -> None:
    deep: object = 1
    for _ in range(MAX_DEPTH + 1):
        deep = [deep]
    with pytest.raises(BackendError):
        decoded(type="x", deep=deep)


@given(st.text(max_size=60) | st.binary(max_size=60).map(lambda raw: raw.decode("latin-1")))
def test_any_text_is_an_event_or_refused(text: str) -> None:
    try:
        event = decode_server_event_untrusted(text)
    except BackendError:
        return
    assert isinstance(event["type"], str)


def test_a_session_goes_out_with_the_backends_formats_and_without_the_model() -> None:
    asked = {"model": "m", "audio": {"output": {"voice": "v", "format": {"type": "audio/pcmu"}}, "x": 1}}
    assert session_update(asked, FORMATS["pcm_16000"], Dialect.GA) == {
        "audio": {
            "x": 1,
            "input": {"format": {"type": "audio/pcm", "rate": 16_000}},
            "output": {"voice": "v", "format": {"type": "audio/pcm", "rate": 16_000}},
        }
    }


def test_a_session_of_the_beta_is_flat() -> None:
    asked = {
        "type": "realtime",
        "instructions": "i",
        "output_modalities": ["audio"],
        "max_output_tokens": 9,
        "tools": [],
        "audio": {
            "input": {"turn_detection": None, "transcription": {"model": "w"}},
            "output": {"voice": "v", "speed": 1.2},
        },
    }
    assert session_update(asked, FORMATS["pcmu"], Dialect.BETA) == {
        "instructions": "i",
        "modalities": ["text", "audio"],
        "max_response_output_tokens": 9,
        "tools": [],
        "turn_detection": None,
        "input_audio_transcription": {"model": "w"},
        "voice": "v",
        "speed": 1.2,
        "input_audio_format": "g711_ulaw",
        "output_audio_format": "g711_ulaw",
    }


def test_events_for_the_beta_say_what_it_understands() -> None:
    item = {"role": "assistant", "content": [{"type": "output_text", "text": "x"}]}
    created = {"type": "conversation.item.create", "item": item}
    assert json.loads(encode_client_event(created, Dialect.BETA))["item"]["content"] == [
        {"type": "text", "text": "x"}
    ]
    asked = {"type": "response.create", "response": {"output_modalities": ["text"], "metadata": {}}}
    assert json.loads(encode_client_event(asked, Dialect.BETA))["response"] == {
        "modalities": ["text"],
        "metadata": {},
    }
    assert json.loads(encode_client_event(asked, Dialect.GA)) == asked

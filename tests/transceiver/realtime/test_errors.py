"""transceiver.realtime.errors: what a session says itself is an `error` event as the API has it."""

from __future__ import annotations

import json

import pytest

from transceiver.realtime import errors
from transceiver.realtime.event import Event

ALL = {name: value for name, value in vars(errors).items() if name.isupper() and isinstance(value, dict)}


@pytest.mark.parametrize("name", ALL)
def test_each_is_an_error_event_with_a_code_and_a_sentence(name: str) -> None:
    event: Event = ALL[name]
    assert event["type"] == "error"
    told = event["error"]
    assert isinstance(told, dict)
    assert told.keys() == {"type", "code", "message"}
    assert told["type"] in ("invalid_request_error", "server_error")
    assert told["message"].endswith(".")
    assert json.loads(json.dumps(event)) == event


def test_codes_are_told_apart() -> None:
    codes = [event["error"]["code"] for event in ALL.values()]
    assert len(codes) == len(set(codes)) == 6


def test_all_but_one_are_the_last_thing_that_is_said() -> None:
    codes = [event["error"]["code"] for name, event in ALL.items() if name != "ANOTHER_CHANNEL"]
    assert sorted(codes) == sorted(errors.FINAL_CODES)

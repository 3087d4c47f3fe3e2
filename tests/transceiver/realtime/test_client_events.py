from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transceiver.realtime.client_events import COUNTERS, MAX_EVENT_CHARS, EventStats, decode_event_untrusted

NOT_EVENTS = {
    "nothing": "",
    "no JSON": "no",
    "half of it": '{"type": "x"',
    "two of them": '{"type": "x"} {"type": "y"}',
    "array": "[]",
    "text": '"type"',
    "number": "1",
    "null": "null",
    "no type": "{}",
    "type is a number": '{"type": 5}',
    "type is null": '{"type": null}',
    "NaN": '{"type": "x", "n": NaN}',
    "infinity": '{"type": "x", "n": [-Infinity]}',
    "nested without end": "[" * 100_000,
    "nested objects": '{"type":' * 10_000,
    "huge number": '{"type": "x", "n": ' + "9" * 5_000 + "}",
    "too long": '{"type": "x"}' + " " * MAX_EVENT_CHARS,
}


def test_every_count_is_told() -> None:
    assert set(COUNTERS) == {field.name for field in dataclasses.fields(EventStats)}


@pytest.mark.parametrize("text", NOT_EVENTS.values(), ids=NOT_EVENTS)
def test_what_is_no_event(text: str) -> None:
    assert decode_event_untrusted(text) is None


def test_an_event_is_what_it_says() -> None:
    assert decode_event_untrusted('{"type": "x", "n": [1.5, "ü"]}') == {"type": "x", "n": [1.5, "ü"]}
    longest = '{"type": "x"}'.ljust(MAX_EVENT_CHARS)
    assert decode_event_untrusted(longest) == {"type": "x"}


@given(st.text())
def test_no_text_raises(text: str) -> None:
    event = decode_event_untrusted(text)
    assert event is None or isinstance(event["type"], str)

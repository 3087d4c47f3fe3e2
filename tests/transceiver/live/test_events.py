"""transceiver.live.events: errors in the shape of GPT-Live, whoever wrote them."""

from __future__ import annotations

from typing import Any

import pytest

from transceiver.live.events import CLOSED_BY, LOST, MAX_MESSAGE, NOT_SUPPORTED, error_event, from_realtime
from transceiver.realtime import errors

REASONS = {"close_requested", "expired", "content", "remote_hangup", "connection_lost"}
"""Of the API."""


@pytest.mark.parametrize(
    "event", [errors.EXPIRED, errors.CRASHED, errors.ANOTHER_CHANNEL, errors.BACKEND_GONE]
)
def test_our_own_errors_keep_their_words(event: Any) -> None:
    told: Any = from_realtime(event, "event_1")
    assert (told["type"], told["event_id"]) == ("error", "event_1")
    assert told["error"] == event["error"]


def test_the_client_s_event_is_named_in_both_places_and_nothing_is_null() -> None:
    members = {"type": "t", "code": "c", "message": "m", "param": None, "event_id": "mine"}
    told = from_realtime({"type": "error", "error": members}, "event_1")
    error = {"type": "t", "code": "c", "message": "m", "client_event_id": "mine"}
    assert told == {"type": "error", "event_id": "event_1", "error": error, "client_event_id": "mine"}


def test_what_a_backend_writes_has_a_bound() -> None:
    told: Any = error_event(
        "e", {"type": "x" * 1000, "code": None, "message": "x" * 5000, "param": "x" * 1000}
    )
    assert len(told["error"]["message"]) == MAX_MESSAGE
    assert told["error"]["code"] == told["error"]["type"] == told["error"]["param"] == "x" * 256


def test_every_reason_is_one_of_the_api() -> None:
    assert {*CLOSED_BY.values(), LOST} == REASONS - {"content"}


def test_every_refusal_says_why() -> None:
    assert all(code and why.endswith(".") for code, why in NOT_SUPPORTED.values())

"""transceiver.session.api: what of a session's own words depends on the API of its client."""

from __future__ import annotations

from typing import Any

from transceiver.observer import EndReason
from transceiver.realtime.client_events import NOT_AN_EVENT
from transceiver.realtime.errors import FINAL_CODES
from transceiver.session.api import LAST_WORDS, LIVE, REALTIME
from transceiver.session.ids import PREFIXES


def test_each_has_ids_of_its_own() -> None:
    assert (REALTIME.prefix, LIVE.prefix) == PREFIXES


def test_each_begins_with_the_event_that_its_clients_wait_for() -> None:
    assert REALTIME.states == ("session.created", "session.updated")
    assert LIVE.states == ("session.started", "session.updated")


def test_an_error_is_said_in_the_words_of_each() -> None:
    assert REALTIME.word(NOT_AN_EVENT, "event_1") == {**NOT_AN_EVENT, "event_id": "event_1"}
    told: Any = LIVE.word(NOT_AN_EVENT, "event_1")
    assert (told["event_id"], told["error"]["code"]) == ("event_1", "invalid_event")


def test_who_has_hung_up_is_told_nothing_and_all_others_one_of_the_last_codes() -> None:
    told: Any = LAST_WORDS
    assert {event["error"]["code"] for event in told.values()} == set(FINAL_CODES)
    assert not {EndReason.HANGUP, EndReason.REMOTE_CLOSED} & LAST_WORDS.keys()

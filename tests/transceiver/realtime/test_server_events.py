"""Server events: what a client gets in which order, and how long what it said is repeated to it."""

from __future__ import annotations

import json

import pytest

from transceiver.realtime.event import Event
from transceiver.realtime.server_events import (
    MAX_ECHOED,
    EventChannel,
    ResponseEvents,
    shortened,
)


@pytest.fixture
def sent() -> list[Event]:
    return []


@pytest.fixture
def channel(sent: list[Event]) -> EventChannel:
    opened = EventChannel("rtc_1-abc", sent.append)
    opened.is_open = True
    return opened


def kinds(sent: list[Event]) -> list[object]:
    return [event["type"] for event in sent]


BEGIN = [
    "response.created",
    "response.output_item.added",
    "conversation.item.added",
    "response.content_part.added",
]
END = [
    "response.output_audio.done",
    "response.content_part.done",
    "response.output_item.done",
    "conversation.item.done",
    "response.done",
]


def test_nothing_leaves_before_the_channel_is_open(sent: list[Event]) -> None:
    channel = EventChannel("rtc_1-abc", sent.append)
    channel.send("session.created")
    assert sent == []
    channel.is_open = True
    channel.send("session.created", session={})
    assert kinds(sent) == ["session.created"]


def test_every_event_and_object_has_an_id_of_its_own(channel: EventChannel, sent: list[Event]) -> None:
    for _ in range(3):
        response = ResponseEvents(channel)
        response.created(None)
        response.completed(was_heard=True)
    ids = [event["event_id"] for event in sent]
    ids += {event["response_id"] for event in sent if "response_id" in event}
    assert len(set(ids)) == len(ids) == len(sent) + 3
    assert all(str(each).endswith(tuple(f"_1-abc_{n}" for n in range(1, 100))) for each in ids)


@pytest.mark.parametrize("was_heard", [True, False])
def test_a_response_that_was_said(channel: EventChannel, sent: list[Event], was_heard: bool) -> None:
    response = ResponseEvents(channel)
    response.created("item_before")
    response.started({"latency_ms": 12})
    response.completed(was_heard)
    heard = ["output_audio_buffer.stopped"] if was_heard else []
    assert kinds(sent) == [*BEGIN, "output_audio_buffer.started", *END, *heard]
    assert sent[2]["previous_item_id"] == "item_before"
    assert sent[4]["voxpop"] == {"latency_ms": 12}
    done = sent[9]["response"]
    assert isinstance(done, dict)
    assert (done["status"], done["status_details"], done["id"]) == ("completed", None, response.response_id)
    assert [item["status"] for item in done["output"]] == ["completed"]


def test_a_response_that_was_broken_off(channel: EventChannel, sent: list[Event]) -> None:
    response = ResponseEvents(channel)
    response.created(None)
    response.cancelled("turn_detected", 340)
    assert kinds(sent) == [*BEGIN, *END, "conversation.item.truncated", "output_audio_buffer.cleared"]
    done, truncated = sent[8]["response"], sent[9]
    assert isinstance(done, dict)
    assert done["status_details"] == {"type": "cancelled", "reason": "turn_detected"}
    assert [item["status"] for item in done["output"]] == ["incomplete"]
    assert (truncated["item_id"], truncated["audio_end_ms"]) == (response.item_id, 340)


def test_an_error_names_the_clients_event_in_few_characters(channel: EventChannel, sent: list[Event]) -> None:
    channel.refuse({"type": "x", "event_id": "e" * 10_000}, "bad", "m" * 10_000, "session.x")
    error = sent[0]["error"]
    assert isinstance(error, dict)
    assert error["event_id"] == "e" * MAX_ECHOED
    assert len(json.dumps(sent[0])) < 4 * MAX_ECHOED
    assert (error["code"], error["param"]) == ("bad", "session.x")


@pytest.mark.parametrize("value", [None, 7, ["x"], {"x": 1}])
def test_only_text_is_repeated(value: object) -> None:
    assert shortened(value) is None
    assert shortened("x") == "x"

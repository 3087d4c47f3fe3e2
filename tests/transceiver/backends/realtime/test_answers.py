"""Responses: one after the other, each once, and none for ever."""

from __future__ import annotations

import pytest

from tests.transceiver.backends.realtime.wire import Wire
from transceiver.backends.realtime.answers import BEGIN_GRACE_NS, CANCEL_GRACE_NS, MAX_REQUESTS
from transceiver.backends.realtime.playout import MAX_PARTS
from transceiver.media import FRAME_MS, FRAME_NS


def test_a_second_response_is_asked_for_when_the_first_is_over() -> None:
    wire = Wire()
    wire.ask("response.create", event_id="c1")
    wire.ask("response.create", event_id="c2", response={"instructions": "x"})
    assert wire.sent() == ["response.create"]
    wire.respond()
    wire.done()
    assert wire.sent() == ["response.create"] * 2
    assert wire.asked("response.create")["response"] == {"instructions": "x"}


def test_responses_out_of_band_wait_for_nobody() -> None:
    wire = Wire()
    wire.ask("response.create", event_id="c1")
    wire.ask("response.create", event_id="c2", response={"conversation": "none"})
    assert wire.sent() == ["response.create"] * 2
    wire.respond(7, conversation_id=None)
    wire.done(7)
    wire.respond(1)
    wire.ask("response.create", event_id="c3")
    assert wire.sent() == ["response.create"] * 2, "the one in the conversation still runs"


def test_too_many_responses_at_once_are_refused() -> None:
    wire = Wire()
    for number in range(MAX_REQUESTS + 2):
        wire.ask("response.create", event_id=f"c{number}")
    assert wire.kinds() == ["error"]
    assert wire.error()["event_id"] == f"c{MAX_REQUESTS + 1}"
    assert wire.error()["code"] == "conversation_already_has_active_response"


@pytest.mark.parametrize("has_id", [True, False])
def test_an_error_finds_back_to_the_event_that_caused_it(has_id: bool) -> None:
    wire = Wire()
    wire.ask("response.create", event_id="c1")
    wire.ask("response.create", event_id="c2")
    event_id = wire.asked("response.create")["event_id"] if has_id else None
    wire.say("error", error={"type": "server_error", "message": "no", "event_id": event_id})
    assert wire.error()["event_id"] == "c1"
    assert wire.sent() == ["response.create"] * 2, "the next one has its turn"


def test_errors_about_what_only_we_have_done_are_not_the_clients_business() -> None:
    wire = Wire()
    wire.respond()
    wire.delta(1000)
    wire.wait(100)
    wire.ask("output_audio_buffer.clear")
    wire.forget()
    for event_id in ("vox_2", "vox_3"):
        wire.say("error", error={"type": "invalid_request_error", "message": "no", "event_id": event_id})
    assert wire.client == []


def test_a_backend_that_never_ends_what_was_cancelled_does_not_keep_others_waiting() -> None:
    wire = Wire()
    wire.respond()
    wire.delta(100)
    wire.ask("response.cancel")
    wire.ask("response.create", event_id="c2")
    wire.wait(CANCEL_GRACE_NS // 1_000_000 + FRAME_MS)
    assert wire.told("response.done")["response"]["status"] == "cancelled"  # type: ignore[index]
    assert wire.sent()[-1] == "response.create"


def test_a_backend_that_never_begins_does_not_keep_others_waiting() -> None:
    wire = Wire()
    wire.ask("response.create", event_id="c1")
    wire.ask("response.create", event_id="c2")
    for tick in (0, BEGIN_GRACE_NS):
        wire.bridge.speak(FRAME_NS + tick)
    assert wire.error()["event_id"] == "c1"
    assert wire.sent() == ["response.create"] * 2


@pytest.mark.parametrize("audio_ms", [0, 1, 20])
def test_responses_that_say_next_to_nothing_leave_room_for_those_that_do(audio_ms: int) -> None:
    wire = Wire(audio="pcm_16000")
    for number in range(MAX_PARTS + 5):
        wire.respond(number)
        wire.delta(audio_ms, number)
        wire.done(number)
        wire.wait(60)
    wire.respond(1000)
    wire.delta(200, 1000)
    wire.wait(60)
    assert not wire.is_silent()


def test_more_than_the_queue_holds_is_cut_short_and_cancelled_once() -> None:
    wire = Wire(limit_ms=1000)
    wire.respond()
    for _ in range(30):
        wire.delta(100)
    assert wire.sent() == ["response.cancel", "conversation.item.truncate"]
    assert wire.asked("conversation.item.truncate")["audio_end_ms"] == 1000
    assert wire.bridge.answers.playout.waiting == 1000 * 24

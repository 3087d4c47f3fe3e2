"""Between a client over WebRTC and a backend over a WebSocket: each is told what it must be, once."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tests.sound import find, silence, speech
from tests.transceiver.backends.realtime.wire import Wire
from transceiver.backends.realtime.playout import FADE_MS
from transceiver.media import FRAME_MS

QUICK = {"turn_detection": {"type": "server_vad", "silence_duration_ms": 200}}


# The session


def test_the_client_is_greeted_once_there_is_a_backend_and_a_channel() -> None:
    wire = Wire(is_opened=False)
    wire.bridge.opened()
    assert wire.client == []
    wire.say("session.created", session={"id": "sess_1"})
    assert wire.kinds() == ["session.created"]
    session = wire.client[0]["session"]
    assert isinstance(session, dict)
    assert (session["id"], session["object"]) == ("rtc_test", "realtime.session")
    wire.bridge.opened()
    assert wire.kinds() == ["session.created"] * 2, "another channel has taken the place of the first"


# Turns that are ours


def test_a_turn_is_heard_committed_and_answered() -> None:
    wire = Wire(QUICK)
    wire.speak(silence(1000))
    assert wire.backend == [], "silence is nobody's business"
    wire.speak(speech())
    wire.wait(400)
    assert wire.sent() == ["input_audio_buffer.commit", "response.create"]
    match = find(speech(), np.frombuffer(wire.heard(), "<i2"))
    assert match.likeness > 0.999
    assert match.at_ms <= 300 + 4 * FRAME_MS
    assert wire.kinds() == ["input_audio_buffer.speech_started", "input_audio_buffer.speech_stopped"]
    started, stopped = wire.client
    assert started["item_id"] == stopped["item_id"]
    assert isinstance(started["audio_start_ms"], int)
    assert isinstance(stopped["audio_end_ms"], int)
    said_ms = len(speech()) // 24
    assert 500 <= started["audio_start_ms"] <= 1000
    assert 1000 + said_ms <= stopped["audio_end_ms"] <= 1000 + said_ms + 400


def test_an_answer_is_heard_measured_and_ended() -> None:
    wire = Wire(QUICK)
    wire.speak(speech())
    wire.wait(300)
    wire.forget()
    wire.respond()
    wire.delta(100)
    wire.done()
    wire.wait(200)
    assert wire.kinds() == [
        "response.created",
        "response.done",
        "output_audio_buffer.started",
        "output_audio_buffer.stopped",
    ]
    assert len(wire.observer.turns) == 1
    measured = wire.told("output_audio_buffer.started")["voxpop"]
    assert isinstance(measured, dict)
    assert measured["since_speech_ms"] == round(wire.observer.turns[0] * 1000)
    assert 200 <= measured["since_speech_ms"] <= 400


def test_who_does_not_want_answers_gets_none() -> None:
    wire = Wire({"turn_detection": {"silence_duration_ms": 200, "create_response": False}})
    wire.speak(speech())
    wire.wait(300)
    assert wire.sent() == ["input_audio_buffer.commit"]


def test_a_client_that_ends_turns_itself_is_heard_all_the_time() -> None:
    wire = Wire({"audio": {"input": {"turn_detection": None}}})
    wire.speak(silence(200))
    assert len(wire.heard()) == 200 * 48
    wire.ask("input_audio_buffer.commit", event_id="c1")
    wire.ask("response.create", event_id="c2")
    assert wire.sent() == ["input_audio_buffer.commit", "response.create"]


# Barge-in


@pytest.mark.parametrize("is_done", [True, False])
def test_a_caller_who_breaks_in_silences_the_answer_and_the_backend_learns_what_was_heard(
    is_done: bool,
) -> None:
    wire = Wire(QUICK)
    wire.respond()
    wire.delta(4000)
    if is_done:
        wire.done()
    part = {"type": "output_audio", "transcript": "Four seconds of words."}
    item = {"id": "item_1", "type": "message", "role": "assistant", "content": [part]}
    wire.say("conversation.item.done", item=item)
    wire.wait(500)
    wire.forget()
    begin = len(wire.spoken)
    while "input_audio_buffer.speech_started" not in wire.kinds():
        wire.speak(speech()[(len(wire.spoken) - begin) * 480 :][:480])
    heard_ms = len(wire.spoken) * FRAME_MS
    wire.tick()
    assert wire.is_silent()
    cancel = [] if is_done else ["response.cancel"]
    assert wire.sent() == [*cancel, "conversation.item.truncate"]
    truncate = wire.asked("conversation.item.truncate")
    # The frame of this very tick is the fade: 5 ms of it.
    assert truncate["audio_end_ms"] == heard_ms - FRAME_MS + FADE_MS
    assert wire.kinds() == [
        "input_audio_buffer.speech_started",
        "conversation.item.truncated",
        "output_audio_buffer.cleared",
    ]
    assert wire.told("conversation.item.truncated")["audio_end_ms"] == truncate["audio_end_ms"]
    wire.say("conversation.item.truncated", item_id="item_1", content_index=0, audio_end_ms=1)
    assert wire.kinds().count("conversation.item.truncated") == 1
    wire.ask("conversation.item.retrieve", item_id="item_1")
    retrieved = wire.told("conversation.item.retrieved")["item"]
    assert retrieved == {**item, "content": [{"type": "output_audio"}]}


def test_what_was_truncated_is_never_more_than_what_came() -> None:
    wire = Wire()
    wire.respond()
    wire.delta(25)
    wire.wait(20)
    wire.ask("output_audio_buffer.clear")
    assert wire.asked("conversation.item.truncate")["audio_end_ms"] == 25


def test_no_frame_of_a_cancelled_response_plays_however_late_it_comes() -> None:
    wire = Wire()
    wire.respond()
    wire.delta(100)
    wire.wait(40)
    wire.ask("response.cancel")
    wire.wait(40)
    wire.delta(1000)
    wire.done(status="cancelled")
    wire.delta(1000)
    wire.wait(200)
    assert wire.is_silent(10)
    wire.respond(2)
    wire.delta(100, number=2, level=3000)
    wire.delta(100, number=1)
    wire.wait(60)
    assert wire.spoken[-1] == np.full(480, 3000).astype("<i2").tobytes()


def test_a_response_that_was_asked_for_before_the_cut_and_begins_after_it_is_cancelled_unheard() -> None:
    wire = Wire()
    wire.ask("response.create", event_id="c1")
    wire.ask("output_audio_buffer.clear")
    assert wire.sent() == ["response.create"]
    wire.respond()
    assert wire.asked("response.cancel")["response_id"] == "resp_1"
    wire.delta(1000)
    wire.wait(100)
    assert wire.is_silent(5)


def test_an_interrupting_client_of_the_stock_kind_cancels_once() -> None:
    wire = Wire()
    wire.respond()
    wire.delta(1000)
    wire.wait(100)
    wire.ask("response.cancel", event_id="c1")
    wire.ask("output_audio_buffer.clear", event_id="c2")
    assert wire.sent() == ["response.cancel", "conversation.item.truncate"]
    assert "error" not in wire.kinds()


def test_nothing_to_cancel_is_an_error_and_the_session_goes_on() -> None:
    wire = Wire()
    wire.ask("response.cancel", event_id="c1")
    assert wire.error()["code"] == "response_cancel_not_active"
    assert wire.error()["event_id"] == "c1"
    assert wire.backend == []


def test_a_backend_with_ears_cancels_by_itself_and_is_told_what_was_heard() -> None:
    wire = Wire(turns="backend")
    wire.respond()
    wire.delta(1000)
    wire.wait(100)
    wire.say("input_audio_buffer.speech_started", item_id="item_u", audio_start_ms=0)
    assert wire.sent() == ["conversation.item.truncate"]
    wire.wait(40)
    assert wire.is_silent()
    wire.ask("response.cancel")
    assert wire.sent() == ["conversation.item.truncate"], "it has cancelled it already"
    wire.done(status="cancelled")
    wire.say("input_audio_buffer.speech_stopped", item_id="item_u", audio_end_ms=900)
    wire.respond(2)
    wire.delta(200, number=2)
    wire.wait(60)
    assert not wire.is_silent()


def test_the_ears_of_a_backend_that_was_told_not_to_listen_count_for_nothing() -> None:
    wire = Wire()
    wire.respond()
    wire.delta(1000)
    wire.wait(100)
    wire.forget()
    wire.say("input_audio_buffer.speech_started", item_id="item_u", audio_start_ms=0)
    assert (wire.client, wire.backend) == ([], [])


# What passes through


@pytest.mark.parametrize(
    "kind",
    ["conversation.item.create", "conversation.item.delete", "conversation.item.truncate", "x.new_thing"],
)
def test_what_the_client_says_passes_whole_under_an_id_of_ours(kind: str) -> None:
    wire = Wire()
    wire.ask(kind, event_id="c1", item={"type": "function_call_output"}, item_id="i", more=[1])
    sent = wire.backend[-1]
    assert sent == {
        "type": kind,
        "event_id": sent["event_id"],
        "item": {"type": "function_call_output"},
        "item_id": "i",
        "more": [1],
    }
    assert sent["event_id"] != "c1"


def test_what_the_backend_says_passes_whole_under_an_id_of_ours() -> None:
    wire = Wire()
    wire.bridge.receive_server_event_untrusted(
        {"type": "response.function_call_arguments.done", "call_id": "call_1", "arguments": "{}"}, 0
    )
    (told,) = wire.client
    assert {key: value for key, value in told.items() if key != "event_id"} == {
        "type": "response.function_call_arguments.done",
        "call_id": "call_1",
        "arguments": "{}",
    }
    assert told["event_id"]


def test_audio_in_events_is_refused_as_there_is_a_track_for_it() -> None:
    wire = Wire()
    wire.ask("input_audio_buffer.append", event_id="c1", audio="AAAA")
    assert wire.error()["code"] == "invalid_event_for_transport"
    assert wire.backend == []


def test_items_are_retrieved_here_where_they_are_known() -> None:
    wire = Wire()
    item = {"id": "item_u", "type": "message", "role": "user", "content": [{"type": "input_audio"}]}
    wire.say("conversation.item.done", item=item)
    wire.say(
        "conversation.item.input_audio_transcription.completed",
        item_id="item_u",
        content_index=0,
        transcript="Hello.",
    )
    wire.ask("conversation.item.retrieve", event_id="c1", item_id="item_u")
    retrieved = wire.told("conversation.item.retrieved")["item"]
    assert retrieved == {**item, "content": [{"type": "input_audio", "transcript": "Hello."}]}
    assert wire.backend == []
    wire.ask("conversation.item.retrieve", event_id="c2", item_id="item_x")
    assert wire.sent() == ["conversation.item.retrieve"]


# The loss of the backend


def test_a_lost_backend_ends_what_it_began_and_is_told_all_again() -> None:
    wire = Wire({"instructions": "Be brief."})
    wire.respond()
    wire.delta(200)
    wire.ask("response.create", event_id="c1")
    wire.ask("session.update", event_id="c2", session={"max_output_tokens": 7})
    wire.forget()
    wire.bridge.lost()
    assert wire.kinds() == ["response.done", "error", "session.updated", "error"]
    assert wire.client[0]["response"]["status"] == "failed"  # type: ignore[index]
    assert wire.client[1]["error"]["event_id"] == "c1"  # type: ignore[index]
    assert wire.error()["code"] == "backend_lost"
    wire.ask("response.create", event_id="c3")
    assert wire.error()["event_id"] == "c3"
    wire.ask("conversation.item.retrieve", item_id="item_x")
    assert wire.error()["code"] == "item_retrieve_invalid_item_id"
    assert wire.backend == []
    wire.bridge.connected()
    session = wire.asked("session.update")["session"]
    assert isinstance(session, dict)
    assert (session["instructions"], session["max_output_tokens"]) == ("Be brief.", 7)


def test_the_caller_hears_the_rest_and_then_a_tone_until_there_is_a_backend_again() -> None:
    wire = Wire()
    wire.respond()
    wire.delta(200)
    wire.bridge.lost()
    wire.wait(200)
    assert all(frame == np.full(480, 8000).astype("<i2").tobytes() for frame in wire.spoken)
    wire.wait(1000)
    assert wire.told("output_audio_buffer.stopped")["response_id"] == "resp_1"
    tone = np.frombuffer(b"".join(frame or b"" for frame in wire.spoken[-50:]), "<i2")
    assert 0 < np.abs(tone).max() < 2000
    wire.bridge.connected()
    wire.wait(1000)
    assert wire.is_silent(50)


def test_who_wants_no_tone_hears_silence() -> None:
    wire = Wire()
    wire.bridge._plan = dataclasses.replace(wire.bridge._plan, has_tone=False)
    wire.bridge.lost()
    wire.wait(1000)
    assert wire.spoken == [None] * 50


def test_what_is_cut_off_after_the_loss_is_told_to_the_client_alone() -> None:
    wire = Wire()
    wire.respond()
    wire.delta(1000)
    wire.wait(100)
    wire.bridge.lost()
    wire.bridge.connected()
    wire.forget()
    wire.ask("output_audio_buffer.clear")
    assert wire.backend == []
    assert wire.told("conversation.item.truncated")["audio_end_ms"] == 100 + FADE_MS
    wire.respond()
    wire.delta(200)
    wire.wait(60)
    assert not wire.is_silent(), "another backend may use the same ids"


# Audio of other kinds


@pytest.mark.parametrize("audio", ["pcm_16000", "pcmu", "pcma"])
def test_other_formats_are_spoken_both_ways(audio: str) -> None:
    wire = Wire(QUICK, audio=audio)
    wire.speak(speech())
    wire.wait(300)
    wire.respond()
    for event in [each for each in wire.backend if each["type"] == "input_audio_buffer.append"]:
        where = {"response_id": "resp_1", "item_id": "item_1", "content_index": 0}
        wire.say("response.output_audio.delta", delta=event["audio"], **where)
    wire.done()
    wire.spoken.clear()
    wire.wait(4000)
    said = np.frombuffer(b"".join(frame for frame in wire.spoken if frame is not None), "<i2")
    assert find(speech(), said).likeness > 0.9

"""transceiver.live.bridge: between a client that speaks GPT-Live and a backend that speaks Realtime."""

from __future__ import annotations

from typing import Any

import pytest

from tests.transceiver.live.kit import EXPIRES_S, SESSION_ID, SPEECH, Scene
from transceiver.live.bridge import MAX_ASKED, SILENCE
from transceiver.live.events import APPENDS, NOT_SUPPORTED
from transceiver.observer import EndReason

LIMITS = {"data_channel": {"allowed_client_events": ["session.close"]}}


def test_the_first_event_has_the_session_with_what_the_backend_has_for_it() -> None:
    scene = Scene()
    scene.live.opened()
    assert (scene.backend.opened_times, scene.told) == (1, []), "the backend has the first word"
    scene.say(
        "session.created", session={"instructions": "I repeat.", "audio": {"output": {"voice": "alloy"}}}
    )
    started = scene.only()
    assert started["type"] == "session.started"
    assert started["session"] == {
        "id": SESSION_ID,
        "expires_at": EXPIRES_S,
        "status": "active",
        "model": "gpt-live-1",
        "store": False,
        "delegation": {"type": "client"},
        "audio": {"output": {"voice": "alloy"}},
        "instructions": "I repeat.",
    }
    assert scene.noticed == []


def test_what_the_client_wants_is_what_it_is_told() -> None:
    wanted = {"instructions": "Be brief.", "audio": {"output": {"voice": {"id": "mine"}}}}
    scene = Scene(**wanted)
    scene.say(
        "session.created", session={"instructions": "I repeat.", "audio": {"output": {"voice": "alloy"}}}
    )
    session = scene.only()["session"]
    assert {key: session[key] for key in wanted} == wanted


def test_a_page_with_limits_is_told_of_them_after_the_session_and_it_alone() -> None:
    scene = Scene(client=LIMITS)
    for _ in range(2):  # a page that opens another channel begins anew
        scene.say("session.created", session={})
    assert [event["type"] for event in scene.told] == ["session.started"] * 2
    assert [(event["type"], event["code"]) for event in scene.noticed] == [
        ("info", "data_channel_permissions")
    ] * 2
    assert scene.noticed[0]["message"] == "This client may send session.close, and is sent every event."


# Audio


def test_a_muted_caller_is_silence_to_the_backend_and_not_to_who_watches() -> None:
    scene = Scene().start()
    scene.audience.wants_audio = True
    scene.tick(5)
    scene.send("session.input_audio.mute", "m")
    muted = [event for event in scene.told if event["type"] == "session.input_audio.muted"]
    assert [event["client_event_id"] for event in muted] == ["m"]
    scene.tick(5)
    scene.send("session.input_audio.mute", None)
    assert "client_event_id" not in scene.told[-1], "muted as before, and acknowledged"
    scene.send("session.input_audio.unmute", "u")
    assert (scene.told[-1]["type"], scene.told[-1]["client_event_id"]) == ("session.input_audio.unmuted", "u")
    scene.tick(5)
    assert scene.backend.heard == [SPEECH] * 5 + [SILENCE] * 5 + [SPEECH] * 5
    reflected = [event for event in scene.audience.got if event["type"] == "session.input_audio.append"]
    assert len({event["audio"] for event in reflected}) == 1
    assert len(reflected) == 3


def test_both_speak_at_once() -> None:
    """The engine gives and takes 20 ms at a time, whoever is speaking."""
    scene = Scene().start()
    scene.audience.wants_audio = True
    scene.backend.says = SPEECH
    scene.tick(10)
    assert scene.backend.heard == [SPEECH] * 10
    assert [event["type"] for event in scene.audience.got] == [
        "session.input_audio.append",
        "session.output_audio.delta",
    ] * 2
    assert scene.told == [], "there are no turns, and nothing else to tell"


# Transcripts


def test_both_are_written_on_one_time_line_and_nothing_else_of_a_turn_is_told() -> None:
    scene = Scene().start()
    scene.tick(2, pcm=None)
    scene.tick(100)
    scene.say("input_audio_buffer.speech_started", item_id="a", audio_start_ms=500)
    scene.say("input_audio_buffer.speech_stopped", item_id="a", audio_end_ms=1400)
    scene.say("input_audio_buffer.committed", item_id="a")
    scene.say("conversation.item.added", item={"id": "a"})
    scene.say("conversation.item.input_audio_transcription.delta", item_id="a", delta="What time is it?")
    scene.say(
        "conversation.item.input_audio_transcription.completed", item_id="a", transcript="What time is it?"
    )
    scene.say("response.created", response={"id": "r"})
    scene.say("response.output_audio_transcript.delta", response_id="r", delta="Noon.")
    scene.say("output_audio_buffer.started", response_id="r")
    scene.say("response.done", response={"id": "r", "status": "completed"})
    scene.say("output_audio_buffer.stopped", response_id="r")
    told = [(e["type"], e["delta"], e["start_ms"], e["end_ms"]) for e in scene.told]
    assert told == [
        ("session.input_transcript.delta", "What time is it?", 540, 1440),
        ("session.output_transcript.delta", "Noon.", 2020, 2020),
    ]


def turn(scene: Scene, item_id: str) -> None:
    """The caller has said something, up to now."""
    now_ms = len(scene.backend.heard) * 20
    scene.say("input_audio_buffer.speech_started", item_id=item_id, audio_start_ms=now_ms - 500)
    scene.say("input_audio_buffer.speech_stopped", item_id=item_id, audio_end_ms=now_ms)
    scene.say("input_audio_buffer.committed", item_id=item_id)


def answer(scene: Scene, response_id: str, text: str) -> None:
    """The backend answers, and is heard."""
    scene.say("response.created", response={"id": response_id})
    scene.say("output_audio_buffer.started", response_id=response_id)
    scene.say("response.output_audio_transcript.delta", response_id=response_id, delta=text)


WORDS = "conversation.item.input_audio_transcription"


@pytest.mark.parametrize("end", ["completed", "failed", "nothing"])
def test_an_answer_waits_a_while_for_the_words_that_it_answers(end: str) -> None:
    """Of a backend that writes what it hears, but not before it answers."""
    scene = Scene().start()
    scene.tick(50)
    turn(scene, "a")
    answer(scene, "r", "Hello.")
    assert scene.only()["delta"] == "Hello.", "nobody knows yet that it writes what it hears"
    scene.say(f"{WORDS}.completed", item_id="a", transcript="Hi")
    assert scene.only()["delta"] == "Hi"
    scene.tick(50)
    turn(scene, "b")
    answer(scene, "s", "Noon.")
    scene.tick(10)
    assert scene.told == []
    if end == "completed":
        scene.say(f"{WORDS}.completed", item_id="b", transcript="What time is it?")
    elif end == "failed":
        scene.say(f"{WORDS}.failed", item_id="b", error={"code": "x", "message": "No."})
        scene.tick()
    else:
        scene.tick(39)
        assert scene.told == []
        scene.tick(3)
    assert scene.told[-1]["delta"] == "Noon."
    starts = [event["start_ms"] for event in scene.told if "start_ms" in event]
    assert starts == sorted(starts)


def test_an_answer_that_waits_is_told_before_the_end() -> None:
    scene = Scene().start()
    scene.tick(50)
    turn(scene, "a")
    scene.say(f"{WORDS}.completed", item_id="a", transcript="Hi")
    turn(scene, "b")
    answer(scene, "s", "Noon.")
    scene.told.clear()
    scene.live.closed(EndReason.HANGUP)
    assert scene.only()["delta"] == "Noon."


# Text from the client


@pytest.mark.parametrize(("kind", "acknowledged"), APPENDS.items(), ids=list(APPENDS))
def test_what_is_appended_is_acknowledged_when_the_backend_has_it(kind: str, acknowledged: str) -> None:
    scene = Scene().start()
    scene.tick(50)
    scene.send(kind, content="It is raining.", delegation_id=None)
    (asked,) = scene.backend.asked
    item = asked["item"]
    assert (asked["type"], item["role"]) == ("conversation.item.create", "system")
    assert item["content"][0]["text"].endswith("It is raining.")
    assert scene.told == [], "not before"
    for _ in range(2):
        scene.say("conversation.item.added", item=item)
    told = scene.only()
    assert (told["type"], told["client_event_id"]) == (acknowledged, "mine")
    assert (told["start_ms"], told["end_ms"]) == (980, 980)
    answers = [event["type"] for event in scene.backend.asked[1:]]
    assert answers == (["response.create"] if kind == "session.commentary.append" else [])


def test_what_the_backend_does_not_take_is_refused_in_the_name_of_what_was_sent() -> None:
    scene = Scene().start()
    scene.send("session.commentary.append", "c", content="Say this.")
    (asked,) = scene.backend.asked
    error = {
        "type": "invalid_request_error",
        "code": "unknown_event",
        "message": "I am a parrot.",
        "param": "x",
    }
    scene.say("error", error={**error, "event_id": asked["event_id"]})
    told = scene.only()
    assert told["client_event_id"] == told["error"]["client_event_id"] == "c"
    assert told["error"] == {
        "type": "invalid_request_error",
        "code": "unknown_event",
        "message": "The backend does not take session.commentary.append: I am a parrot.",
        "param": "type",
        "client_event_id": "c",
    }
    assert scene.backend.asked == [asked], "and so nothing is to be said"


def test_the_history_goes_to_the_backend_once_and_before_anything_else() -> None:
    history = [
        {"role": "user", "content": [{"text": "Hello"}]},
        {"role": "assistant", "content": [{"type": "text", "text": "Good day."}]},
    ]
    scene = Scene(input=history)
    scene.say("session.created", session={})
    assert [event["item"]["role"] for event in scene.backend.asked] == ["user", "assistant"]
    scene.say("session.created", session={})
    assert len(scene.backend.asked) == 2
    scene.told.clear()
    scene.say("conversation.item.added", item=scene.backend.asked[0]["item"])
    assert scene.told == [], "nobody has asked for that"
    error = {
        "type": "server_error",
        "code": "x",
        "message": "No.",
        "event_id": scene.backend.asked[1]["event_id"],
    }
    scene.say("error", error=error)
    assert scene.only()["error"]["param"] == "session.input"


# Settings


def test_an_update_is_answered_with_the_whole_session() -> None:
    scene = Scene(instructions="Be brief.").start()
    scene.send("session.update", session={"delegation": {"type": "client", "acknowledgement_delay_ms": 5}})
    told = scene.only()
    assert (told["type"], told["client_event_id"]) == ("session.updated", "mine")
    assert told["session"]["delegation"] == {"type": "client", "acknowledgement_delay_ms": 5}
    assert told["session"]["instructions"] == "Be brief."
    assert scene.backend.asked == []


def test_an_update_that_cannot_be_is_refused_and_changes_nothing() -> None:
    scene = Scene().start()
    scene.send("session.update", session={"instructions": "x", "delegation": {"type": "client"}})
    error = scene.only()["error"]
    assert (error["code"], error["param"], error["client_event_id"]) == (
        "invalid_value",
        "session.instructions",
        "mine",
    )


# Refusals


@pytest.mark.parametrize("kind", [*NOT_SUPPORTED, "response.cancel", "input_audio_buffer.commit", "x" * 1000])
def test_what_nobody_here_can_do_is_refused_by_name(kind: str) -> None:
    scene = Scene().start()
    scene.send(kind)
    told = scene.only()
    assert (told["type"], told["client_event_id"]) == ("error", "mine")
    assert told["error"]["code"] == NOT_SUPPORTED.get(kind, ("unknown_event", ""))[0]
    assert kind[:200] in told["error"]["message"]
    assert scene.backend.asked == []


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({}, "content"),
        ({"content": " "}, "content"),
        ({"content": "x", "delegation_id": "d"}, "delegation_id"),
    ],
    ids=["nothing", "blank", "delegation"],
)
def test_text_that_cannot_be_appended_is_refused(members: dict[str, Any], param: str) -> None:
    scene = Scene().start()
    scene.send("session.thinking.append", **members)
    assert scene.only()["error"]["param"] == param
    assert scene.backend.asked == []


# Errors of the backend


def test_an_error_of_nobody_s_is_told_without_a_name() -> None:
    scene = Scene().start()
    scene.say(
        "error",
        error={"type": "server_error", "code": "backend_lost", "message": "It was lost.", "param": None},
    )
    assert scene.only()["error"] == {
        "type": "server_error",
        "code": "backend_lost",
        "message": "It was lost.",
    }


@pytest.mark.parametrize("error", [None, "x", {}, {"code": 1, "message": ["x"], "event_id": {}}], ids=str)
def test_an_error_without_members_is_one_all_the_same(error: object) -> None:
    scene = Scene().start()
    scene.say("error", error=error)
    told = scene.only()["error"]
    assert all(isinstance(told[key], str) and told[key] for key in ("type", "code", "message"))


def test_a_response_that_fails_is_told_for_nothing_else_would_be() -> None:
    scene = Scene().start()
    scene.say("response.done", response={"status": "completed"})
    scene.say("response.done", response={"status": "cancelled"})
    assert scene.told == []
    details = {"type": "failed", "error": {"type": "server_error", "code": "no_voice"}}
    scene.say("response.done", response={"status": "failed", "status_details": details})
    assert scene.only()["error"]["code"] == "no_voice"
    scene.say("response.done", response={"status": "failed", "status_details": None})
    assert scene.only()["error"]["code"] == "response_failed"
    scene.say(
        "conversation.item.input_audio_transcription.failed", error={"code": "too_loud", "message": "Ow."}
    )
    assert scene.only()["error"]["code"] == "too_loud"


def test_a_backend_that_answers_nothing_is_forgotten_by_and_by() -> None:
    scene = Scene().start()
    for number in range(3 * MAX_ASKED):
        scene.send("session.thinking.append", f"e{number}", content="x")
    assert (len(scene.live._asked), len(scene.live._items)) == (MAX_ASKED, MAX_ASKED)
    scene.say("conversation.item.added", item=scene.backend.asked[-1]["item"])
    assert scene.only()["client_event_id"] == f"e{3 * MAX_ASKED - 1}"


# The end


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        (EndReason.HANGUP, "close_requested"),
        (EndReason.TOO_LONG, "expired"),
        (EndReason.REMOTE_CLOSED, "remote_hangup"),
        *(
            (end, "connection_lost")
            for end in EndReason
            if end.value not in ("hangup", "too_long", "remote_closed")
        ),
    ],
    ids=lambda value: str(value),
)
def test_the_last_word_says_why(end: EndReason, reason: str) -> None:
    scene = Scene().start()
    scene.tick(126)
    closed = scene.live.closed(end)
    assert (closed["type"], closed["reason"]) == ("session.closed", reason)
    assert closed["usage"] == {"seconds": 2}
    session: Any = closed["session"]
    assert (session["id"], session["status"]) == (SESSION_ID, "active"), "the API's, to the last"


def test_a_client_that_closes_hears_of_its_own_event() -> None:
    scene = Scene().start()
    scene.send("session.close", "bye")
    assert scene.ends == [EndReason.HANGUP]
    assert scene.live.closed(EndReason.HANGUP)["client_event_id"] == "bye"
    scene.live.close()
    assert scene.backend.is_closed
    scene.live.close()
    scene.live.opened()
    scene.tick()
    scene.send("session.thinking.append", content="x")
    assert scene.backend.asked == []


def test_the_last_of_the_audio_is_shown_before_the_end() -> None:
    scene = Scene().start()
    scene.audience.wants_audio = True
    scene.tick(2)
    assert scene.audience.got == []
    scene.live.closed(EndReason.HANGUP)
    assert [event["type"] for event in scene.audience.got] == ["session.input_audio.append"]


def test_every_event_has_an_id_of_its_own() -> None:
    scene = Scene(client=LIMITS)
    scene.say("session.created", session={})
    scene.send("session.input_audio.mute")
    scene.send("nothing")
    scene.say("error", error={})
    events = [*scene.told, *scene.noticed, scene.live.closed(EndReason.HANGUP)]
    assert len({event["event_id"] for event in events}) == len(events) == 6

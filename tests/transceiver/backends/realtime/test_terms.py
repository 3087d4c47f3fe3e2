"""What client and backend agree on, and who is told of it."""

from __future__ import annotations

from tests.transceiver.backends.realtime.wire import Wire
from transceiver.backends.realtime.terms import MAX_UPDATES
from transceiver.turns.settings import ServerVad

QUICK = {"turn_detection": {"type": "server_vad", "silence_duration_ms": 200}}


def test_the_backend_is_told_what_the_call_asks_for_and_no_defaults() -> None:
    wire = Wire({"instructions": "Be brief.", **QUICK}, is_opened=False)
    assert wire.backend == [
        {
            "type": "session.update",
            "event_id": "vox_1",
            "session": {
                "instructions": "Be brief.",
                "audio": {
                    "input": {"turn_detection": None, "format": {"type": "audio/pcm", "rate": 24_000}},
                    "output": {"format": {"type": "audio/pcm", "rate": 24_000}},
                },
            },
        }
    ]


def test_turns_of_the_backend_are_told_to_it_as_the_client_wants_them() -> None:
    wire = Wire(QUICK, turns="backend", is_opened=False)
    session = wire.asked("session.update")["session"]
    assert isinstance(session, dict)
    assert session["audio"]["input"]["turn_detection"] == {
        "type": "server_vad",
        "threshold": 0.5,
        "prefix_padding_ms": 300,
        "silence_duration_ms": 200,
        "create_response": True,
        "interrupt_response": True,
    }


def test_an_update_is_in_force_when_the_backend_says_so() -> None:
    wire = Wire()
    wire.ask("session.update", event_id="c1", session={"audio": {"output": {"voice": "marin"}}})
    sent = wire.asked("session.update")
    assert sent["event_id"] != "c1"
    assert isinstance(sent["session"], dict)
    assert sent["session"]["audio"]["output"] == {
        "voice": "marin",
        "format": {"type": "audio/pcm", "rate": 24_000},
    }
    assert wire.client == []
    wire.say("session.updated", session={"audio": {"output": {"voice": "cedar", "speed": 1.25}}})
    session = wire.told("session.updated")["session"]
    assert isinstance(session, dict)
    assert session["audio"]["output"] == {
        "voice": "cedar",
        "speed": 1.25,
        "format": {"type": "audio/pcm", "rate": 24_000},
    }
    turn_detection = session["audio"]["input"]["turn_detection"]
    assert turn_detection["silence_duration_ms"] == ServerVad().silence_duration_ms


def test_updates_do_not_pile_up_before_a_backend_that_answers_none() -> None:
    wire = Wire()
    for number in range(MAX_UPDATES + 1):
        wire.ask("session.update", event_id=f"c{number}", session={"instructions": str(number)})
    assert wire.sent() == ["session.update"] * MAX_UPDATES
    assert wire.error()["event_id"] == f"c{MAX_UPDATES}"
    wire.say("session.updated", session={})
    wire.ask("session.update", session={"instructions": "again"})
    assert wire.sent() == ["session.update"] * (MAX_UPDATES + 1)


def test_a_wrong_update_is_refused_here_by_the_name_of_its_member() -> None:
    wire = Wire()
    wire.ask("session.update", event_id="c1", session={"audio": {"output": {"speed": 9}}})
    assert wire.backend == []
    assert wire.error()["event_id"] == "c1"
    assert wire.error()["param"] == "session.audio.output.speed"


def test_an_update_that_the_backend_refuses_changes_nothing() -> None:
    wire = Wire()
    wire.ask("session.update", event_id="c1", session={"instructions": "a"})
    refused = wire.asked("session.update")["event_id"]
    wire.ask("session.update", event_id="c2", session={"max_output_tokens": 5})
    wire.say("error", error={"type": "invalid_request_error", "message": "no", "event_id": refused})
    assert wire.error()["event_id"] == "c1"
    wire.say("session.updated", session={})
    session = wire.told("session.updated")["session"]
    assert isinstance(session, dict)
    assert session["max_output_tokens"] == 5


def test_a_backend_that_has_another_rate_than_asked_is_believed() -> None:
    wire = Wire(is_opened=False)
    wire.bridge.opened()
    other = {"format": {"type": "audio/pcm", "rate": 16_000}}
    wire.say("session.updated", session={"audio": {"input": other, "output": other}})
    wire.respond()
    wire.delta(300)  # 7200 samples, which are 450 ms at this rate
    wire.say("response.output_audio.done", response_id="resp_1", item_id="item_1", content_index=0)
    assert wire.bridge.answers.playout.waiting == 450 * 24

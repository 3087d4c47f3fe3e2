"""The parrot from outside: audio and events in, audio and events out, on a clock of its own."""

from __future__ import annotations

import tracemalloc
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import ConfigError
from tests.sound import Samples, find, frames, noise, silence, speech
from tests.tones import heard, pitch, voice
from transceiver.backends.base import Backend, SessionContext
from transceiver.backends.built_in import PARROT
from transceiver.backends.parrot import FADE_MS, FADE_SAMPLES, MODEL
from transceiver.backends.recording import MAX_FRAMES
from transceiver.media import FRAME_BYTES, FRAME_MS, FRAME_NS
from transceiver.observer import NullObserver
from transceiver.realtime.event import Event
from transceiver.turns.rule import to_frames
from transceiver.turns.settings import ServerVad

SILENT = bytes(FRAME_BYTES)
DEFAULT_SILENCE_MS = ServerVad().silence_duration_ms


class TurnObserver(NullObserver):
    def __init__(self) -> None:
        self.turns: list[float] = []

    def turn(self, seconds: float) -> None:
        self.turns.append(seconds)


class Call:
    """A parrot on a clock: every tick it hears one frame and then speaks one."""

    def __init__(
        self, session: Event | None = None, opened: bool = True, defaults: ServerVad | None = None
    ) -> None:
        self.events: list[Event] = []
        self.spoken: list[bytes | None] = []
        self.observer = TurnObserver()
        context = SessionContext(
            "rtc_test", session or {}, self.events.append, self.observer, lambda reason: None
        )
        self.parrot: Backend = PARROT.build(defaults or ServerVad()).create(context)
        if opened:
            self.parrot.opened()

    def tick(self, pcm: bytes = SILENT) -> bytes | None:
        now_ns = (len(self.spoken) + 1) * FRAME_NS
        self.parrot.hear(pcm, now_ns)
        self.spoken.append(self.parrot.speak(now_ns))
        return self.spoken[-1]

    def say(self, samples: Samples) -> None:
        for frame in frames(samples):
            self.tick(frame)

    def wait(self, duration_ms: int) -> None:
        for _ in range(duration_ms // FRAME_MS):
            self.tick()

    def send(self, kind: str, **members: object) -> None:
        self.parrot.receive_event({"type": kind, **members})

    def kinds(self) -> list[object]:
        return [event["type"] for event in self.events]

    def last(self, kind: str) -> Event:
        return next(event for event in reversed(self.events) if event["type"] == kind)

    def answer(self) -> Samples:
        return np.frombuffer(b"".join(frame for frame in self.spoken if frame is not None), "<i2")


def test_it_says_back_what_it_heard() -> None:
    call = Call()
    call.wait(500)
    call.say(speech())
    call.wait(3000)
    match = find(speech(), call.answer())
    assert match.likeness > 0.999
    assert match.at_ms < 1
    assert len(call.answer()) / 24 < len(speech()) / 24 + 100 + FRAME_MS


def test_the_events_of_one_turn_come_in_the_protocols_order() -> None:
    call = Call()
    call.wait(500)
    call.say(speech())
    call.wait(3000)
    assert call.kinds() == [
        "session.created",
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
        "response.created",
        "response.output_item.added",
        "conversation.item.added",
        "response.content_part.added",
        "output_audio_buffer.started",
        "response.output_audio.done",
        "response.content_part.done",
        "response.output_item.done",
        "conversation.item.done",
        "response.done",
        "output_audio_buffer.stopped",
    ]


def test_the_events_of_one_turn_say_when_and_belong_together() -> None:
    call = Call()
    call.wait(500)
    call.say(speech())
    call.wait(3000)
    said_ms = len(frames(speech())) * FRAME_MS
    started, stopped = (call.last(f"input_audio_buffer.speech_{what}") for what in ("started", "stopped"))
    committed = call.last("input_audio_buffer.committed")
    assert started["item_id"] == stopped["item_id"] == committed["item_id"]
    assert started["audio_start_ms"] == 500 - 300
    assert stopped["voxpop"] == {"speech_end_ms": 500 + said_ms}
    assert stopped["audio_end_ms"] == 500 + said_ms + DEFAULT_SILENCE_MS
    assert committed["voxpop"] == {"audio_ms": 300 + said_ms + 100, "dropped_ms": 0}
    heard = next(event["item"] for event in call.events if event["type"] == "conversation.item.done")
    assert heard["content"] == [{"type": "input_audio", "transcript": None}]  # type: ignore[index]
    done = call.last("response.done")["response"]
    assert isinstance(done, dict)
    assert (done["status"], done["status_details"]) == ("completed", None)
    for kind in ("output_audio_buffer.started", "output_audio_buffer.stopped", "response.output_audio.done"):
        assert call.last(kind)["response_id"] == done["id"]
    ids = [event["event_id"] for event in call.events]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("silence_ms", [20, 200, 500, 1000])
def test_it_answers_in_the_frame_that_ends_the_turn(silence_ms: int) -> None:
    call = Call({"turn_detection": {"silence_duration_ms": silence_ms}})
    call.say(voice(pitch(0), 1.0))
    said = len(call.spoken)
    call.wait(1500)
    first = next(index for index, frame in enumerate(call.spoken) if frame is not None)
    assert first == said - 1 + silence_ms // FRAME_MS
    assert call.observer.turns == [pytest.approx(silence_ms / 1000)]
    told = call.last("output_audio_buffer.started")["voxpop"]
    budget = {
        "since": "last_word",
        "end_of_turn_ms": silence_ms,
        "backend_ms": 0,
        "pacing_ms": 0,
        "way_out_ms": 0,
        "total_ms": silence_ms,
    }
    assert told == {"since_speech_ms": silence_ms, "budget": budget}


def test_an_answer_that_the_client_has_asked_for_has_no_budget() -> None:
    call = Call({"turn_detection": {"create_response": False, "silence_duration_ms": 200}})
    call.say(voice(pitch(0), 0.5))
    call.wait(400)
    call.send("response.create")
    call.wait(40)
    assert call.last("output_audio_buffer.started")["voxpop"] == {}


def test_a_turn_that_breaks_in_has_a_budget_of_its_own() -> None:
    call = Call({"turn_detection": {"silence_duration_ms": 100}})
    call.say(voice(pitch(0), 1.0))
    call.wait(200)
    call.say(voice(pitch(1), 0.5))
    call.wait(200)
    budgets = [event["voxpop"] for event in call.events if event["type"] == "output_audio_buffer.started"]
    assert len(budgets) == 2
    assert budgets[0] == budgets[1], "each from its own last word"


@pytest.mark.parametrize("pause_ms", [300, 400, 480])
def test_who_names_no_turn_detection_is_heard_out_over_a_pause(pause_ms: int) -> None:
    call = Call()
    for _ in range(3):
        call.say(voice(pitch(0), 0.6))
        call.wait(pause_ms)
    assert call.kinds().count("input_audio_buffer.speech_started") == 1
    assert "input_audio_buffer.speech_stopped" not in call.kinds()
    call.wait(500 - pause_ms)
    assert call.kinds().count("response.created") == 1


def answering(session: Event | None = None) -> Call:
    """A call in which the first frame of an answer of about 2 s has just been heard."""
    call = Call(session)
    call.say(speech())
    while call.spoken[-1] is None:
        call.tick()
    return call


@pytest.mark.parametrize("played", [1, 2, 3, 7, 20, 50, 90])
@pytest.mark.parametrize("interruption", [speech(), voice(pitch(9), 1.0)], ids=["speech", "tone"])
def test_it_stops_within_100_ms_when_spoken_over(played: int, interruption: Samples) -> None:
    call = answering()
    for _ in range(played - 1):
        call.tick()
    before = len(call.spoken)
    call.say(interruption[: 24 * 300])
    over = call.spoken[before:]
    audible = [index for index, frame in enumerate(over) if frame is not None]
    assert len(audible) <= 4
    faded = np.frombuffer(over[audible[-1]] or b"", "<i2")
    assert not faded[FADE_SAMPLES:].any()
    assert over[audible[-1] + 1 :] == [None] * (len(over) - audible[-1] - 1)
    played_ms = (played + len(audible) - 1) * FRAME_MS + FADE_MS
    assert call.last("conversation.item.truncated")["audio_end_ms"] == played_ms
    assert call.kinds()[-8:] == [
        "input_audio_buffer.speech_started",
        "response.output_audio.done",
        "response.content_part.done",
        "response.output_item.done",
        "conversation.item.done",
        "response.done",
        "conversation.item.truncated",
        "output_audio_buffer.cleared",
    ]
    done = call.last("response.done")["response"]
    assert isinstance(done, dict)
    assert done["status_details"] == {"type": "cancelled", "reason": "turn_detected"}


def test_what_interrupted_it_is_answered_whole_and_alone() -> None:
    call = answering()
    call.wait(500)
    interrupted_at = len(call.spoken)
    call.say(voice(pitch(9), 1.0))
    call.wait(2000)
    after = np.frombuffer(b"".join(f for f in call.spoken[interrupted_at + 5 :] if f is not None), "<i2")
    assert find(voice(pitch(9), 1.0), after).likeness > 0.999
    assert heard(after, [pitch(index) for index in range(50)]) == [pitch(9)]


def test_speech_in_the_answers_last_frame_interrupts_nothing() -> None:
    call = answering()
    while call.spoken[-1] is not None:
        call.tick()
    call.say(voice(pitch(3), 0.2))
    assert "output_audio_buffer.cleared" not in call.kinds()
    assert call.kinds()[-1] == "input_audio_buffer.speech_started"


def test_without_interrupt_response_it_speaks_on_and_the_next_turn_gets_no_answer() -> None:
    call = answering({"turn_detection": {"interrupt_response": False}})
    call.say(voice(pitch(3), 0.5))
    call.wait(600)
    assert None not in call.spoken[-20:]
    call.wait(3000)
    assert call.kinds().count("input_audio_buffer.committed") == 2
    assert call.kinds().count("response.created") == 1
    call.send("response.create")
    call.wait(1000)
    assert heard(call.answer()[-10_000:], [pitch(3)]) == [pitch(3)]


def test_without_create_response_it_waits_to_be_asked() -> None:
    call = Call({"audio": {"input": {"turn_detection": {"type": "server_vad", "create_response": False}}}})
    call.say(speech())
    call.wait(1000)
    assert not len(call.answer())
    assert call.kinds()[-1] == "conversation.item.done"
    call.send("response.create")
    call.wait(3000)
    assert find(speech(), call.answer()).likeness > 0.999
    assert call.observer.turns == [], "the client's own delay is no turn latency"


def test_turns_can_be_left_to_the_client() -> None:
    call = Call({"turn_detection": None})
    call.say(speech())
    call.wait(2000)
    assert call.kinds() == ["session.created"]
    call.send("input_audio_buffer.commit")
    call.send("response.create")
    call.wait(5000)
    assert find(speech(), call.answer()).likeness > 0.999
    assert call.last("response.done")


def test_a_cancelled_answer_is_over_with_its_fade() -> None:
    call = answering()
    call.wait(100)
    call.send("response.cancel", event_id="mine")
    truncated = call.last("conversation.item.truncated")
    assert truncated["audio_end_ms"] == 120 + FADE_MS
    call.send("conversation.item.retrieve", item_id=truncated["item_id"])
    item = call.last("conversation.item.retrieved")["item"]
    assert isinstance(item, dict)
    assert (item["id"], item["status"]) == (truncated["item_id"], "incomplete")
    done = call.last("response.done")["response"]
    assert isinstance(done, dict)
    assert done["status_details"] == {"type": "cancelled", "reason": "client_cancelled"}
    call.wait(100)
    assert [frame is None for frame in call.spoken[-5:]] == [False, True, True, True, True]
    call.send("response.cancel", event_id="mine")
    assert error(call) == ("response_cancel_not_active", "mine")


def test_an_answer_cancelled_before_its_first_frame_was_not_heard() -> None:
    call = Call({"turn_detection": None})
    call.say(speech())
    call.send("input_audio_buffer.commit")
    call.send("response.create")
    call.send("output_audio_buffer.clear")
    call.wait(100)
    assert call.last("conversation.item.truncated")["audio_end_ms"] == 0
    assert not len(call.answer())


def test_an_answer_of_silence_is_over_at_once_and_never_heard() -> None:
    call = Call()
    call.wait(100)
    call.send("input_audio_buffer.commit")
    call.send("response.create")
    call.wait(100)
    assert not len(call.answer())
    assert call.kinds()[-1] == "response.done"
    assert "output_audio_buffer.started" not in call.kinds()


def error(call: Call) -> tuple[object, object]:
    body = call.last("error")["error"]
    assert isinstance(body, dict)
    return body["code"], body["event_id"]


@pytest.mark.parametrize(
    ("event", "code"),
    [
        ({"type": "session.levitate"}, "unknown_event"),
        ({"type": 7}, "unknown_event"),
        ({}, "unknown_event"),
        ({"type": "input_audio_buffer.append", "audio": ""}, "unknown_event"),
        ({"type": "input_audio_buffer.commit"}, "input_audio_buffer_commit_empty"),
        ({"type": "response.create"}, "nothing_to_say"),
        ({"type": "response.cancel"}, "response_cancel_not_active"),
        ({"type": "conversation.item.retrieve", "item_id": "item_x"}, "item_retrieve_invalid_item_id"),
        ({"type": "session.update", "session": {"audio": {"output": {"speed": 9}}}}, "invalid_value"),
        ({"type": "session.update"}, "invalid_value"),
        ({"type": "session.update", "session": []}, "invalid_value"),
        ({"type": "session.update", "session": {"turn_detection": {"threshold": 2}}}, "invalid_value"),
    ],
)
def test_what_cannot_be_done_is_answered_with_an_error(event: Mapping[str, object], code: str) -> None:
    call = Call()
    call.parrot.receive_event({**event, "event_id": "evt_client"})
    assert error(call) == (code, "evt_client")
    assert call.kinds() == ["session.created", "error"]


def test_a_second_answer_waits_for_the_first() -> None:
    call = answering()
    call.send("response.create")
    assert error(call) == ("conversation_already_has_active_response", None)


def test_errors_repeat_only_a_little_of_what_they_are_about() -> None:
    call = Call()
    call.send("x" * 60_000, event_id="y" * 60_000)
    assert len(str(call.last("error"))) < 1500


def test_an_update_names_the_wrong_setting_and_changes_nothing() -> None:
    call = Call()
    call.send("session.update", session={"turn_detection": {"silence_duration_ms": 1, "threshold": 0.9}})
    body = call.last("error")["error"]
    assert isinstance(body, dict)
    assert body["param"] == "session.turn_detection.silence_duration_ms"
    call.send("session.update", session={})
    assert turn_detection(call)["threshold"] == 0.5


def turn_detection(call: Call) -> Mapping[str, object]:
    session = call.last("session.updated")["session"]
    assert isinstance(session, dict)
    found = session["audio"]["input"]["turn_detection"]
    assert isinstance(found, dict)
    return found


def test_an_update_takes_effect_at_once() -> None:
    call = Call()
    call.send("session.update", session={"audio": {"input": {"turn_detection": {"silence_duration_ms": 40}}}})
    assert turn_detection(call)["silence_duration_ms"] == 40
    call.say(voice(pitch(0), 0.5))
    call.wait(60)
    assert call.spoken[-1] is not None


def test_a_session_of_the_agents_sdk_is_taken() -> None:
    call = Call()
    session = {
        "type": "realtime",
        "model": "gpt-realtime",
        "instructions": "You are helpful.",
        "output_modalities": ["audio"],
        "audio": {
            "input": {
                "format": {"type": "audio/pcm", "rate": 24000},
                "noise_reduction": None,
                "transcription": {"model": "gpt-4o-mini-transcribe"},
                "turn_detection": {"type": "semantic_vad"},
            },
            "output": {"format": {"type": "audio/pcm", "rate": 24000}, "voice": "marin", "speed": 1},
        },
        "tools": [],
        "tool_choice": "auto",
    }
    call.send("session.update", session=session)
    call.send("session.update", session={"type": "realtime", "tracing": "auto"})
    assert call.kinds() == ["session.created", "session.updated", "session.updated"]
    assert turn_detection(call)["type"] == "semantic_vad"
    told = call.last("session.updated")["session"]
    assert isinstance(told, dict)
    assert (told["model"], told["instructions"], told["tracing"]) == (MODEL, "You are helpful.", "auto")
    assert (told["truncation"], told["audio"]["output"]["voice"]) == ("auto", "marin")


def test_a_call_with_impossible_settings_is_not_made() -> None:
    with pytest.raises(ConfigError, match="threshold"):
        Call({"turn_detection": {"threshold": 3}})


def test_nothing_is_told_before_the_channel_is_open() -> None:
    call = Call(opened=False)
    call.say(speech())
    assert call.events == []
    call.parrot.opened()
    assert call.kinds() == ["session.created"]
    call.wait(3000)
    assert find(speech(), call.answer()).likeness > 0.999


def test_clearing_the_input_forgets_a_turn_that_is_under_way() -> None:
    call = Call()
    call.say(speech())
    call.send("input_audio_buffer.clear")
    call.wait(1000)
    assert call.kinds()[-1] == "input_audio_buffer.cleared"
    assert not len(call.answer())


def test_a_turn_without_end_keeps_its_last_30_seconds_and_says_so() -> None:
    call = Call()
    call.say(voice(pitch(5), 33.0))
    call.wait(DEFAULT_SILENCE_MS + 240)
    committed = call.last("input_audio_buffer.committed")["voxpop"]
    assert committed == {
        "audio_ms": (MAX_FRAMES - to_frames(DEFAULT_SILENCE_MS) + 5) * FRAME_MS,
        "dropped_ms": 33_000 + DEFAULT_SILENCE_MS - MAX_FRAMES * FRAME_MS,
    }


def test_talking_on_takes_no_more_memory() -> None:
    call = Call()
    talk = frames(np.concatenate((noise(400, 500), speech(), silence(300), voice(pitch(2), 3.0))))

    def talk_for(seconds: int) -> int:
        for tick in range(seconds * 1000 // FRAME_MS):
            call.tick(talk[tick % len(talk)])
            call.spoken.clear()
        call.events.clear()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        after_minute = talk_for(60)
        assert talk_for(300) < after_minute + 100_000
    finally:
        tracemalloc.stop()


STEPS = st.one_of(
    st.tuples(st.just("say"), st.integers(1, 30)),
    st.tuples(st.just("wait"), st.integers(1, 30)),
    st.tuples(
        st.just("send"),
        st.sampled_from(
            [
                {"type": "response.create"},
                {"type": "response.cancel"},
                {"type": "output_audio_buffer.clear"},
                {"type": "input_audio_buffer.commit"},
                {"type": "input_audio_buffer.clear"},
                {"type": "session.update", "session": {"turn_detection": None}},
                {"type": "session.update", "session": {"turn_detection": {"type": "server_vad"}}},
                {"type": "session.update", "session": {"turn_detection": {"interrupt_response": False}}},
                {"type": "session.update", "session": {"turn_detection": {"silence_duration_ms": 20}}},
                {"type": "session.update", "session": {"turn_detection": {"create_response": False}}},
                {"type": "nonsense"},
            ]
        ),
    ),
)


@settings(deadline=None, max_examples=150)
@given(st.lists(STEPS, max_size=40))
def test_whatever_happens_the_events_stay_legal(steps: Sequence[tuple[str, object]]) -> None:
    call = Call()
    tone = frames(voice(pitch(0), 2.0))
    for what, value in steps:
        if what == "say":
            for index in range(int(str(value))):
                call.tick(tone[10 + index])
        elif what == "wait":
            for _ in range(int(str(value))):
                call.tick()
        else:
            assert isinstance(value, dict)
            call.parrot.receive_event(value)
    check_order(call.events)
    call.parrot.close()


def check_order(events: Sequence[Event]) -> None:
    """One response at a time, each with a beginning and an end; turns that start before they stop."""
    active: object = None
    audible: object = None
    speaking: object = None
    for event in events:
        response = event.get("response")
        match event["type"]:
            case "response.created":
                assert isinstance(response, dict)
                assert active is None
                active = response["id"]
            case "response.done":
                assert isinstance(response, dict)
                assert response["id"] == active
                active = None
            case "output_audio_buffer.started":
                assert (active, audible) == (event["response_id"], None)
                audible = active
            case "output_audio_buffer.stopped":
                assert (active, audible) == (None, event["response_id"])
                audible = None
            case "output_audio_buffer.cleared":
                assert active is None
                assert audible in (None, event["response_id"])
                audible = None
            case "input_audio_buffer.speech_started":
                speaking = event["item_id"]
            case "input_audio_buffer.speech_stopped":
                assert speaking == event["item_id"]
                speaking = None

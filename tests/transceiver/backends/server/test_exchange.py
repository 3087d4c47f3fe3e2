"""The server's half of the protocol, event by event, with the parrot behind it."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.sound import Samples, find, silence, speech
from transceiver.backends.parrot import Parrots
from transceiver.backends.server.client import Client
from transceiver.backends.server.driven import DrivenBackend
from transceiver.backends.server.exchange import MAX_EVENT_CHARS, Exchange
from transceiver.media import FRAME_NS
from transceiver.media.g711 import decode_mu_law, encode_mu_law
from transceiver.realtime.event import Event
from transceiver.turns.settings import ServerVad

MODEL = "some-model"


class Wire:
    """A client without a wire, on a clock of its own: what it appends is heard at once."""

    def __init__(self, is_slow: Callable[[], bool] = lambda: False, speed: float | None = None) -> None:
        self.events: list[Event] = []
        self.now_ns = 0
        self.client = Client("sess_test", MODEL, self._receive, is_slow)
        self.session = DrivenBackend(Parrots(ServerVad()), lambda: self.now_ns, speed).create(self.client)
        self.exchange = Exchange(self.client, self.session)
        self.exchange.open()

    def _receive(self, event: Event) -> None:
        self.events.append(json.loads(json.dumps(event)))

    def send(self, kind: str, **members: object) -> Event:
        """The last event that comes of it."""
        return self.say_raw(json.dumps({"type": kind, **members}))

    def say_raw(self, text: str) -> Event:
        self.exchange.receive_untrusted(text, self.now_ns)
        while self.exchange.hear_next(self.now_ns):
            self.now_ns += FRAME_NS
        return self.events[-1]

    def append(self, samples: Samples) -> None:
        encoded = base64.b64encode(samples.astype("<i2").tobytes()).decode()
        self.send("input_audio_buffer.append", audio=encoded)

    def kinds(self) -> list[object]:
        return [event["type"] for event in self.events]

    def last(self, kind: str) -> Event:
        return next(event for event in reversed(self.events) if event["type"] == kind)

    def answer(self) -> Samples:
        deltas = [event["delta"] for event in self.events if event["type"] == "response.output_audio.delta"]
        return np.frombuffer(b"".join(base64.b64decode(str(delta)) for delta in deltas), "<i2")

    def turn(self) -> str:
        """The item of an answer."""
        self.append(speech())
        self.append(silence(600))
        return str(self.last("response.output_audio.done")["item_id"])


def code(event: Event) -> object:
    error = event["error"]
    assert isinstance(error, dict)
    return error["code"]


def test_the_session_is_told_first_and_whole() -> None:
    wire = Wire()
    assert wire.kinds() == ["session.created"]
    session = wire.events[0]["session"]
    assert isinstance(session, dict)
    assert (session["id"], session["object"], session["model"]) == ("sess_test", "realtime.session", MODEL)
    assert session["audio"]["input"]["turn_detection"]["silence_duration_ms"] == 500
    assert session["audio"]["output"]["format"] == {"type": "audio/pcm", "rate": 24_000}


def test_a_turn_is_answered_with_itself_and_in_the_protocols_order() -> None:
    wire = Wire()
    wire.turn()
    kinds = [kind for kind in wire.kinds() if kind != "response.output_audio.delta"]
    assert kinds == [
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
        "response.output_audio.done",
        "response.content_part.done",
        "response.output_item.done",
        "conversation.item.done",
        "response.done",
    ]
    assert find(speech(), wire.answer()).likeness > 0.999
    first, last = (
        place(index for index, kind in enumerate(wire.kinds()) if kind == "response.output_audio.delta")
        for place in (min, max)
    )
    assert wire.kinds()[first - 1] == "response.content_part.added"
    assert wire.kinds()[last + 1] == "response.output_audio.done"
    ids = [event["event_id"] for event in wire.events]
    assert len(set(ids)) == len(ids)


def test_deltas_say_where_they_belong() -> None:
    wire = Wire()
    wire.turn()
    added, delta = wire.last("response.content_part.added"), wire.last("response.output_audio.delta")
    for member in ("response_id", "item_id", "output_index", "content_index"):
        assert delta[member] == added[member]


def test_audio_less_than_a_frame_belongs_to_what_is_committed() -> None:
    wire = Wire()
    wire.send("session.update", session={"type": "realtime", "audio": {"input": {"turn_detection": None}}})
    wire.append(speech()[:4_900])
    wire.send("input_audio_buffer.commit")
    wire.send("response.create")
    assert wire.answer()[:4_900].tolist() == speech()[:4_900].tolist()
    assert len(wire.answer()) == 5_280


def test_what_is_cleared_was_not_said() -> None:
    wire = Wire()
    wire.send("session.update", session={"audio": {"input": {"turn_detection": None}}})
    wire.append(speech()[:4_900])
    assert wire.send("input_audio_buffer.clear")["type"] == "input_audio_buffer.cleared"
    assert code(wire.send("input_audio_buffer.commit")) == "input_audio_buffer_commit_empty"


# Settings


def test_an_update_changes_what_it_names_and_is_told_whole() -> None:
    wire = Wire()
    turns = {"type": "server_vad", "silence_duration_ms": 200}
    updated = wire.send(
        "session.update",
        session={"instructions": "Be a parrot.", "audio": {"input": {"turn_detection": turns}}, "odd": 1},
    )
    session = updated["session"]
    assert isinstance(session, dict)
    assert (session["instructions"], session["odd"], session["model"]) == ("Be a parrot.", 1, MODEL)
    detection = session["audio"]["input"]["turn_detection"]
    assert (detection["silence_duration_ms"], detection["threshold"]) == (200, 0.5)
    wire.append(speech())
    wire.append(silence(220))
    assert wire.last("response.done")


@pytest.mark.parametrize(
    ("session", "param"),
    [
        (None, "session"),
        ({"output_modalities": ["smell"]}, "session.output_modalities"),
        (
            {"audio": {"input": {"turn_detection": {"type": "telepathy"}}}},
            "session.audio.input.turn_detection",
        ),
        ({"audio": {"input": {"format": {"type": "audio/opus"}}}}, "session.audio.input.format"),
    ],
)
def test_an_update_that_is_not_acceptable_changes_nothing(session: object, param: str) -> None:
    wire = Wire()
    before = wire.client.settings
    refused = wire.send("session.update", session=session, event_id="mine")
    error = refused["error"]
    assert isinstance(error, dict)
    assert (refused["type"], error["event_id"], error["param"]) == ("error", "mine", param)
    assert wire.client.settings == before


def test_a_setting_that_the_backend_does_not_have_is_refused_in_its_words() -> None:
    wire = Wire()
    turns = {"type": "server_vad", "idle_timeout_ms": 5000}
    refused = wire.send("session.update", session={"audio": {"input": {"turn_detection": turns}}})
    assert "idle_timeout_ms is not a setting" in json.dumps(refused)


def test_a_telephone_is_heard_and_answered_as_one() -> None:
    wire = Wire()
    law = {"format": {"type": "audio/pcmu"}}
    wire.send("session.update", session={"audio": {"input": law, "output": law}})
    quiet = base64.b64encode(b"\xff" * 8_000).decode()
    wire.send("input_audio_buffer.append", audio=quiet)
    assert wire.kinds()[-1] == "session.updated"
    tone = (8_000 * np.sin(np.arange(8_000) * 2 * np.pi * 1_000 / 8_000)).astype(np.int16)
    wire.send("input_audio_buffer.append", audio=base64.b64encode(encode_mu_law(tone)).decode())
    wire.send("input_audio_buffer.append", audio=quiet)
    deltas = [base64.b64decode(str(event["delta"])) for event in wire.events if "delta" in event]
    answer = decode_mu_law(b"".join(deltas)).astype(float)
    assert 0.9 < len(answer) / 8_000 < 1.3
    spectrum = np.abs(np.fft.rfft(answer))
    assert np.argmax(spectrum) * 8_000 / len(answer) == pytest.approx(1_000, abs=5)


# Items


def test_items_are_retrieved_as_they_are_now() -> None:
    wire = Wire()
    item_id = wire.turn()
    item = wire.send("conversation.item.retrieve", item_id=item_id)["item"]
    assert isinstance(item, dict)
    assert (item["id"], item["role"], item["status"]) == (item_id, "assistant", "completed")


def test_a_truncation_is_acknowledged_and_bounded_by_what_was_spoken() -> None:
    wire = Wire()
    item_id = wire.turn()
    spoken_ms = len(wire.answer()) // 24

    def truncate(end: object, index: object = 0, item: object = item_id) -> Event:
        return wire.send(
            "conversation.item.truncate", item_id=item, content_index=index, audio_end_ms=end, event_id="t"
        )

    assert truncate(spoken_ms + 1)["type"] == "error"
    done = truncate(700)
    assert (done["type"], done["item_id"], done["audio_end_ms"]) == (
        "conversation.item.truncated",
        item_id,
        700,
    )
    assert truncate(701)["type"] == "error"
    for end in (-1, 10.5, "10", None, True):
        assert code(truncate(end)) == "invalid_value"
    assert code(truncate(10, index=1)) == "invalid_value"
    assert code(truncate(10, item="item_of_nobody")) == "item_truncate_invalid_item_id"
    error = wire.events[-1]["error"]
    assert isinstance(error, dict)
    assert error["event_id"] == "t"


def test_created_items_are_part_of_the_conversation() -> None:
    wire = Wire()
    text = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hello"}]}
    wire.send("conversation.item.create", item={**text, "id": "mine"})
    added = wire.last("conversation.item.added")
    assert (added["item"]["id"], added["previous_item_id"]) == ("mine", None)  # type: ignore[index]
    done = wire.send("conversation.item.create", item=text, previous_item_id="mine")
    assert (done["type"], done["previous_item_id"]) == ("conversation.item.done", "mine")
    assert wire.send("conversation.item.retrieve", item_id="mine")["item"]["content"] == text["content"]  # type: ignore[index]
    assert wire.send("conversation.item.delete", item_id="mine")["type"] == "conversation.item.deleted"
    assert code(wire.send("conversation.item.delete", item_id="mine")) == "item_delete_invalid_item_id"
    assert code(wire.send("conversation.item.retrieve", item_id="mine")) == "item_retrieve_invalid_item_id"


def test_items_are_put_where_the_client_wants_them_and_deleted_ones_leave_no_gap() -> None:
    wire = Wire()

    def create(name: str, after: object = None) -> Event:
        item = {"type": "message", "role": "user", "id": name, "content": []}
        return wire.send("conversation.item.create", item=item, previous_item_id=after)

    create("first")
    create("last")
    assert create("second", "first")["previous_item_id"] == "first"
    assert create("third", "second")["previous_item_id"] == "second"
    assert create("zeroth", "root")["previous_item_id"] is None
    wire.send("conversation.item.delete", item_id="last")
    assert create("fourth")["previous_item_id"] == "third"
    wire.send("conversation.item.delete", item_id="second")
    assert create("second", "first")["previous_item_id"] == "first"
    assert code(create("fifth", "last")) == "item_create_invalid_previous_item_id"
    assert code(create("fourth")) == "invalid_value"
    assert create("fifth")["previous_item_id"] == "fourth"


@pytest.mark.parametrize(
    "item",
    [
        None,
        {"type": "song"},
        {"type": "message", "role": "parrot", "content": []},
        {"type": "message", "role": "user", "content": "hello"},
        {"type": "message", "role": "user", "content": [], "id": "x" * 65},
        {"type": "function_call_output", "output": "3"},
    ],
)
def test_items_that_are_none_are_refused(item: object) -> None:
    wire = Wire()
    assert code(wire.send("conversation.item.create", item=item)) == "invalid_value"


# Responses


def test_a_response_is_known_by_its_metadata() -> None:
    wire = Wire()
    wire.turn()
    done = wire.send("response.create", response={"metadata": {"wanted": "this"}})
    created = wire.last("response.created")
    for event in (created, done):
        response = event["response"]
        assert isinstance(response, dict)
        assert response["metadata"] == {"wanted": "this"}
    assert done["response"]["usage"]["total_tokens"] == 0  # type: ignore[index]


def test_a_client_that_reads_slowly_gets_its_speech_later_and_can_cancel_the_rest() -> None:
    is_slow = False
    wire = Wire(lambda: is_slow)
    wire.append(speech())
    is_slow = True
    wire.append(silence(600))
    assert "response.output_audio.delta" not in wire.kinds()
    cancelled = wire.send("response.cancel")
    response = cancelled["response"]
    assert isinstance(response, dict)
    assert (cancelled["type"], response["status"]) == ("response.done", "cancelled")
    assert response["status_details"]["reason"] == "client_cancelled"
    is_slow = False
    wire.append(silence(100))
    assert len(wire.answer()) == 0
    assert code(wire.send("response.cancel")) == "response_cancel_not_active"


def test_it_speaks_as_fast_as_it_was_told() -> None:
    wire = Wire(speed=2.0)
    wire.append(speech())
    wire.append(silence(600))
    begun = len(wire.answer())
    assert begun / 24 < 300
    wire.append(silence(400))
    assert (len(wire.answer()) - begun) / 24 == pytest.approx(800, abs=100)


# What is no event


@pytest.mark.parametrize(
    "kind", ["output_audio_buffer.clear", "response.destroy", "session.created", "", "x" * 300]
)
def test_events_that_a_client_does_not_have_are_refused_by_name(kind: str) -> None:
    refused = Wire().send(kind, event_id="mine")
    error = refused["error"]
    assert isinstance(error, dict)
    assert (refused["type"], error["event_id"], error["param"]) == ("error", "mine", "type")


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"type": 1}', '{"type":"a","x":' + "[" * 100 + "]" * 100 + "}"]
)
def test_messages_that_are_no_events_are_refused(text: str) -> None:
    assert code(Wire().say_raw(text)) == "invalid_event"


def test_only_audio_may_be_long() -> None:
    wire = Wire()
    assert (
        code(wire.send("session.update", session={"instructions": "x" * MAX_EVENT_CHARS})) == "invalid_event"
    )
    wire.append(silence(60_000))
    assert wire.kinds() == ["session.created", "error"]


MEMBERS = st.sampled_from(
    ["audio", "session", "item", "item_id", "id", "type", "role", "content", "content_index", "audio_end_ms"]
) | st.sampled_from(
    ["response", "metadata", "input", "output", "format", "turn_detection", "call_id", "previous_item_id"]
)
KINDS = st.sampled_from(
    [
        *(f"input_audio_buffer.{what}" for what in ("append", "commit", "clear")),
        *(f"conversation.item.{what}" for what in ("create", "retrieve", "delete", "truncate")),
        *("session.update", "response.create", "response.cancel"),
    ]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(MEMBERS, inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=40)
@given(st.lists(st.tuples(KINDS, st.dictionaries(MEMBERS, JSON, max_size=4)), max_size=6))
def test_nothing_that_a_client_sends_raises(said: list[tuple[str, dict[str, object]]]) -> None:
    wire = Wire()
    for kind, members in said:
        wire.say_raw(json.dumps({**members, "type": kind}))

"""One item has one id for the client, whoever owns the turn; and the backend has its own."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.sound import speech
from tests.transceiver.backends.realtime.wire import Wire
from transceiver.backends.realtime.item_ids import (
    COMMIT_GRACE_NS,
    MAX_COMMITS,
    MAX_ID_CHARS,
    MAX_IDS,
    ItemIds,
)
from transceiver.media import FRAME_NS

QUICK = {"turn_detection": {"type": "server_vad", "silence_duration_ms": 200}}
ITEM: dict[str, Any] = {
    "id": "theirs",
    "type": "message",
    "role": "user",
    "content": [{"type": "input_audio"}],
}
TRANSCRIBED = "conversation.item.input_audio_transcription.completed"


def after_a_turn(wire: Wire) -> object:
    """What the client was told that the turn is."""
    wire.speak(speech())
    wire.wait(300)
    return wire.told("input_audio_buffer.speech_started")["item_id"]


def test_all_events_of_a_turn_name_it_as_its_first_did() -> None:
    wire = Wire(QUICK)
    ours = after_a_turn(wire)
    wire.say("input_audio_buffer.committed", item_id="theirs", previous_item_id=None)
    wire.say("conversation.item.added", item=ITEM, previous_item_id=None)
    wire.say("conversation.item.done", item=ITEM, previous_item_id=None)
    wire.say("conversation.item.input_audio_transcription.delta", item_id="theirs", delta="Hel")
    wire.say(TRANSCRIBED, item_id="theirs", content_index=0, transcript="Hello.")
    answer = {"id": "item_1", "type": "message", "role": "assistant", "content": []}
    wire.say("conversation.item.added", item=answer, previous_item_id="theirs")
    named = [event.get("item_id") or event["item"]["id"] for event in wire.client[:-1]]  # type: ignore[index]
    assert named == [ours] * 7
    assert wire.client[-1]["previous_item_id"] == ours
    assert wire.client[-1]["item"] == answer


def test_what_the_client_asks_by_it_reaches_the_backend_by_its_own() -> None:
    wire = Wire(QUICK)
    ours = after_a_turn(wire)
    wire.say("input_audio_buffer.committed", item_id="theirs", previous_item_id=None)
    wire.ask("conversation.item.retrieve", item_id=ours)
    assert wire.asked("conversation.item.retrieve")["item_id"] == "theirs", "which it has still to tell of"
    wire.say("conversation.item.retrieved", item=ITEM)
    assert wire.told("conversation.item.retrieved")["item"] == {**ITEM, "id": ours}
    wire.say(TRANSCRIBED, item_id="theirs", content_index=0, transcript="Hello.")
    wire.ask("conversation.item.retrieve", item_id=ours)
    retrieved: Any = wire.told("conversation.item.retrieved")["item"]
    assert (retrieved["id"], retrieved["content"][0]["transcript"]) == (ours, "Hello.")
    for kind in ("conversation.item.delete", "conversation.item.truncate"):
        wire.ask(kind, item_id=ours)
        assert wire.asked(kind)["item_id"] == "theirs"
    wire.ask("conversation.item.create", previous_item_id=ours, item={"type": "message"})
    assert wire.asked("conversation.item.create")["previous_item_id"] == "theirs"
    given = {"conversation": "none", "input": [{"type": "item_reference", "id": ours}, 7]}
    wire.ask("response.create", response=given)
    sent: Any = wire.asked("response.create")["response"]
    assert sent["input"] == [{"type": "item_reference", "id": "theirs"}, 7]
    wire.say("conversation.item.deleted", item_id="theirs")
    assert wire.told("conversation.item.deleted")["item_id"] == ours


def test_a_client_that_commits_in_a_turn_of_ours_commits_that_one() -> None:
    wire = Wire(QUICK)
    wire.speak(speech()[: len(speech()) // 2])
    wire.ask("input_audio_buffer.commit")
    wire.say("input_audio_buffer.committed", item_id="theirs")
    started = wire.told("input_audio_buffer.speech_started")["item_id"]
    assert wire.told("input_audio_buffer.committed")["item_id"] == started


@pytest.mark.parametrize("has_id", [True, False])
def test_a_commit_that_is_refused_leaves_its_name_to_nobody(has_id: bool) -> None:
    wire = Wire(QUICK)
    after_a_turn(wire)
    event_id = wire.asked("input_audio_buffer.commit")["event_id"] if has_id else None
    wire.say("error", error={"code": "input_audio_buffer_commit_empty", "event_id": event_id})
    assert "error" not in wire.kinds(), "the client has not asked for it"
    second = after_a_turn(wire)
    wire.say("input_audio_buffer.committed", item_id="theirs")
    assert wire.told("input_audio_buffer.committed")["item_id"] == second


def test_turns_of_the_backend_s_and_of_the_client_s_keep_its_names() -> None:
    for wire in (Wire(turns="backend"), Wire({"turn_detection": None})):
        wire.ask("input_audio_buffer.commit")
        wire.say("input_audio_buffer.committed", item_id="theirs")
        assert wire.told("input_audio_buffer.committed")["item_id"] == "theirs"


def test_a_commit_that_is_never_answered_is_not_taken_for_the_next() -> None:
    ids = ItemIds()
    ids.commit("e1", "ours_1", 0)
    ids.commit("e2", "ours_2", COMMIT_GRACE_NS)
    told = ids.from_backend_untrusted(
        {"type": "input_audio_buffer.committed", "item_id": "theirs"}, COMMIT_GRACE_NS + FRAME_NS
    )
    assert told == {"type": "input_audio_buffer.committed", "item_id": "ours_2"}


def test_both_ways_are_bounded() -> None:
    ids = ItemIds()
    for number in range(MAX_IDS + 10):
        ids.commit(f"e{number}", f"ours_{number}", 0)
        ids.from_backend_untrusted({"type": "input_audio_buffer.committed", "item_id": f"theirs_{number}"}, 0)
    assert len(ids._ours) == len(ids._theirs) == MAX_IDS
    assert ids.to_backend({"item_id": "ours_0"}) == {"item_id": "ours_0"}, "long ago"
    for number in range(100):
        ids.commit(f"x{number}", None, 0)
    assert len(ids._commits) == MAX_COMMITS


@pytest.mark.parametrize("chars", [MAX_ID_CHARS, MAX_ID_CHARS + 1])
def test_a_backend_s_id_is_kept_only_up_to_a_length(chars: int) -> None:
    ids, theirs = ItemIds(), "x" * chars
    is_kept = chars <= MAX_ID_CHARS
    ids.commit("e", "ours", 0)
    committed = {"type": "input_audio_buffer.committed", "item_id": theirs}
    assert ids.from_backend_untrusted(committed, 0) == {**committed, "item_id": "ours" if is_kept else theirs}
    assert len(ids._commits) == 0
    ids.retell([{**ITEM, "id": "told"}])
    added = {"type": "conversation.item.added", "item": {**ITEM, "id": "y" * chars}}
    assert ids.from_backend_untrusted(added, 0) is None
    assert len(ids._ours) == len(ids._theirs) == 2 * is_kept
    assert len(ids._known) == is_kept


values = st.recursive(
    st.none() | st.integers(0, 3) | st.sampled_from(["theirs", "ours", ""]),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["id", "item"]), inner, max_size=2)
    ),
    max_leaves=4,
)
kinds = st.sampled_from(
    ["input_audio_buffer.committed", "conversation.item.added", "conversation.item.done", "x"]
)
members = st.sampled_from(["item_id", "previous_item_id", "item", "response"])


@given(st.lists(st.tuples(kinds, st.dictionaries(members, values, max_size=3)), max_size=8))
def test_anything_is_borne(events: list[tuple[str, dict[str, Any]]]) -> None:
    ids = ItemIds()
    ids.commit("e", "ours", 0)
    ids.retell([{**ITEM, "id": "ours"}])
    for kind, more in events:
        ids.from_backend_untrusted({"type": kind, **more}, 0)
        ids.to_backend({"type": kind, **more})

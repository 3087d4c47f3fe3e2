"""A conversation, as far as its events tell."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from transceiver.realtime.items import MAX_CHARS, MAX_ITEM_CHARS, MAX_ITEMS, Conversation


def message(item_id: str, *content: dict[str, object]) -> dict[str, object]:
    return {"id": item_id, "type": "message", "role": "user", "content": list(content)}


def learned(*events: dict[str, Any]) -> Conversation:
    conversation = Conversation()
    for event in events:
        conversation.learn_untrusted(event)
    return conversation


def test_the_latest_word_on_an_item_counts() -> None:
    item = message("a", {"type": "input_text", "text": "hi"})
    conversation = learned(
        {"type": "conversation.item.added", "item": {"id": "a", "status": "in_progress"}},
        {"type": "conversation.item.done", "item": item},
    )
    assert conversation.find("a") == item
    assert conversation.find("b") is None
    assert conversation.find(7) is None


def test_transcripts_come_to_their_part_and_go_with_a_truncation() -> None:
    conversation = learned(
        {"type": "response.output_item.done", "item": message("a", {"type": "output_audio"})},
        {
            "type": "response.output_audio_transcript.done",
            "item_id": "a",
            "content_index": 0,
            "transcript": "Good day.",
        },
    )
    assert conversation.find("a") == message("a", {"type": "output_audio", "transcript": "Good day."})
    conversation.learn_untrusted(
        {"type": "conversation.item.truncated", "item_id": "a", "content_index": 0, "audio_end_ms": 5}
    )
    assert conversation.find("a") == message("a", {"type": "output_audio"})


def test_what_was_not_heard_is_not_learnt_later() -> None:
    part: dict[str, object] = {"type": "output_audio", "transcript": "Good day."}
    conversation = learned(
        {"type": "conversation.item.added", "item": message("a")},
        {"type": "conversation.item.truncated", "item_id": "a", "content_index": 1, "audio_end_ms": 5},
        {"type": "conversation.item.done", "item": message("a", part, part)},
        {
            "type": "response.output_audio_transcript.done",
            "item_id": "a",
            "content_index": 1,
            "transcript": "Good day.",
        },
    )
    assert conversation.find("a") == message("a", part, {"type": "output_audio"})
    conversation.learn_untrusted({"type": "conversation.item.deleted", "item_id": "a"})
    conversation.learn_untrusted({"type": "conversation.item.done", "item": message("a", part, part)})
    assert conversation.find("a") == message("a", part, part)


def test_audio_in_an_item_is_not_kept() -> None:
    item = message("a", {"type": "input_audio", "audio": "A" * 100_000, "transcript": "x"})
    conversation = learned({"type": "conversation.item.retrieved", "item": item})
    assert conversation.find("a") == message("a", {"type": "input_audio", "transcript": "x"})


def test_deleted_is_forgotten() -> None:
    conversation = learned(
        {"type": "conversation.item.done", "item": message("a")},
        {"type": "conversation.item.deleted", "item_id": "a"},
    )
    assert (conversation.find("a"), len(conversation), conversation.chars) == (None, 0, 0)


def test_the_oldest_go_first() -> None:
    conversation = learned(
        *({"type": "conversation.item.done", "item": message(str(n))} for n in range(MAX_ITEMS + 1))
    )
    assert len(conversation) == MAX_ITEMS
    assert conversation.find("0") is None
    long = message("long", {"type": "input_text", "text": "x" * MAX_ITEM_CHARS})
    conversation.learn_untrusted({"type": "conversation.item.done", "item": long})
    assert conversation.find("long") is None
    for number in range(10):
        much = message(f"m{number}", {"type": "input_text", "text": "x" * (MAX_ITEM_CHARS - 200)})
        conversation.learn_untrusted({"type": "conversation.item.done", "item": much})
    assert conversation.chars <= MAX_CHARS


junk: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.integers(-2, 3) | st.sampled_from(["a", "b", "input_audio", "output_audio"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["id", "type", "content", "audio"]), inner, max_size=3)
    ),
)
KINDS = (
    "conversation.item.added", "conversation.item.deleted", "conversation.item.truncated",
    "conversation.item.input_audio_transcription.completed", "response.output_audio_transcript.done", "x",
)  # fmt: skip


@given(
    st.lists(
        st.tuples(
            st.sampled_from(KINDS),
            st.dictionaries(st.sampled_from(["item", "item_id", "content_index", "transcript"]), junk),
        )
    )
)
def test_any_events_are_borne_and_the_sum_is_right(events: list[tuple[str, dict[str, Any]]]) -> None:
    conversation = learned(*({"type": kind, **members} for kind, members in events))
    assert conversation.chars == sum(length for _, length in conversation._items.values())

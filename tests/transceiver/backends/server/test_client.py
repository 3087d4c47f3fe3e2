"""What a session's client is told, and what is remembered of it."""

from __future__ import annotations

import base64

from transceiver.backends.server.client import AudioPart, Client
from transceiver.media import FRAME_BYTES, FRAME_MS
from transceiver.realtime.event import Event
from transceiver.realtime.items import MAX_ITEMS


class Told:
    def __init__(self) -> None:
        self.events: list[Event] = []
        self.client = Client("sess_test", "m", self.events.append, lambda: False)

    def add(self, item_id: str) -> object:
        self.client.send("conversation.item.added", item={"id": item_id, "type": "message"})
        return self.events[-1]["previous_item_id"]


def test_items_are_told_in_the_order_in_which_they_were_added() -> None:
    told = Told()
    assert [told.add(name) for name in ("a", "b", "c")] == [None, "a", "b"]
    told.client.send("conversation.item.done", item={"id": "b"})
    assert told.events[-1]["previous_item_id"] == "a"
    told.client.send("input_audio_buffer.committed", item_id="d", previous_item_id="of the backend's")
    assert told.events[-1]["previous_item_id"] == "c"


def test_speech_of_an_item_adds_up_and_a_truncation_takes_away() -> None:
    told, part = Told(), AudioPart("resp", "item")
    assert told.client.spoken("item") is None
    told.client.speak(part, bytes(FRAME_BYTES))
    told.client.speak(part, bytes(2 * FRAME_BYTES))
    spoken = told.client.spoken("item")
    assert spoken is not None
    assert spoken.duration_ms == 3 * FRAME_MS
    spoken.truncate(10)
    assert spoken.duration_ms == 10


def test_a_telephone_hears_a_part_to_its_end_before_it_is_done() -> None:
    told = Told()
    told.client.settings = told.client.settings.updated(
        {"audio": {"output": {"format": {"type": "audio/pcma"}}}}
    )
    for _ in range(10):
        told.client.speak(AudioPart("resp", "item"), bytes(FRAME_BYTES))
    told.client.send("response.output_audio.done", response_id="resp", item_id="item")
    assert told.events[-1]["type"] == "response.output_audio.done"
    deltas = [base64.b64decode(str(event["delta"])) for event in told.events[:-1]]
    assert len(b"".join(deltas)) == 10 * FRAME_MS * 8


def test_what_is_remembered_is_bounded() -> None:
    told = Told()
    for number in range(2 * MAX_ITEMS):
        told.add(f"item_{number}")
        told.client.speak(AudioPart("resp", f"item_{number}"), bytes(FRAME_BYTES))
    assert told.client.spoken("item_0") is None
    assert told.client.conversation.find("item_0") is None
    assert told.client.spoken(f"item_{2 * MAX_ITEMS - 1}") is not None
    assert len(told.client.conversation) <= MAX_ITEMS
    assert not told.client.has_place("item_0")
    assert told.client.has_place(f"item_{2 * MAX_ITEMS - 1}")

"""Ids towards the backend, and whose they are."""

from __future__ import annotations

import weakref

from transceiver.backends.realtime.outbox import MAX_REMEMBERED, Asked, Outbox
from transceiver.realtime.event import Event
from transceiver.realtime.server_events import MAX_ECHOED


def test_every_event_has_an_id_that_leads_back_once() -> None:
    sent: list[Event] = []
    outbox = Outbox(sent.append)
    asked = {"type": "response.create", "event_id": "mine"}
    assert outbox.pass_on(asked, response={}) == "vox_1"
    assert outbox.send("input_audio_buffer.commit") == "vox_2"
    assert sent == [
        {"type": "response.create", "event_id": "vox_1", "response": {}},
        {"type": "input_audio_buffer.commit", "event_id": "vox_2"},
    ]
    assert outbox.pop_untrusted("vox_1") == Asked("response.create", is_ours=False, client_id="mine")
    assert outbox.pop_untrusted("vox_1") is None
    assert outbox.pop_untrusted(["vox_2"]) is None


def test_audio_has_none_and_no_audio_is_not_sent() -> None:
    sent: list[Event] = []
    outbox = Outbox(sent.append)
    outbox.send_audio("AAAA")
    outbox.send_audio("")
    assert sent == [{"type": "input_audio_buffer.append", "audio": "AAAA"}]


def test_the_oldest_are_forgotten() -> None:
    outbox = Outbox(lambda event: None)
    ids = [outbox.send("x") for _ in range(MAX_REMEMBERED + 1)]
    assert outbox.pop_untrusted(ids[0]) is None
    assert outbox.pop_untrusted(ids[1]) == Asked("x", is_ours=True)
    outbox.clear()
    assert outbox.pop_untrusted(ids[2]) is None


class LongEvent(dict[str, object]):
    """Whose end can be seen."""


def test_of_what_a_client_has_sent_only_its_id_is_kept() -> None:
    outbox = Outbox(lambda event: None)
    event = LongEvent(type="conversation.item.create", event_id="x" * 1000)
    sent, alive = outbox.pass_on(event), weakref.ref(event)
    del event
    assert alive() is None
    asked = outbox.pop_untrusted(sent)
    assert asked == Asked("conversation.item.create", is_ours=False, client_id="x" * MAX_ECHOED)


def test_one_that_is_closed_holds_and_tells_nobody() -> None:
    sent: list[Event] = []
    outbox = Outbox(sent.append)
    outbox.close()
    outbox.send("x")
    assert sent == []

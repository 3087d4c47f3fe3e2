"""Fuzz what a client sends to a backend of ours that is a server: messages, one a line.

Invariant: nothing raises; every answer is JSON with an id of its own; every message that is no event, and
every event that is refused, is told as an `error`; and what is kept of a client stays within bounds.
"""

from __future__ import annotations

import json

from transceiver.backends.parrot import Parrots
from transceiver.backends.server.client import Client
from transceiver.backends.server.driven import DrivenBackend
from transceiver.backends.server.exchange import Exchange
from transceiver.media import FRAME_NS
from transceiver.realtime.client_events import decode_event_untrusted
from transceiver.realtime.event import Event
from transceiver.realtime.items import MAX_CHARS, MAX_ITEMS
from transceiver.realtime.settings import MAX_SESSION_CHARS
from transceiver.turns.settings import ServerVad

MAX_MESSAGES = 32


def test_one_input(data: bytes) -> None:
    """Say each line, and let all of its audio be heard."""
    told: list[Event] = []
    client = Client("sess_fuzz", "m", told.append, lambda: False)
    exchange = Exchange(client, DrivenBackend(Parrots(ServerVad()), lambda: 0).create(client))
    exchange.open()
    now_ns = 0
    for line in data.decode(errors="replace").split("\n")[:MAX_MESSAGES]:
        before = len(told)
        exchange.receive_untrusted(line, now_ns)
        if decode_event_untrusted(line) is None:
            assert [event["type"] for event in told[before:]] == ["error"]
        while exchange.hear_next(now_ns):
            now_ns += FRAME_NS
    ids = [json.loads(json.dumps(event))["event_id"] for event in told]
    assert len(set(ids)) == len(ids)
    assert len(client.conversation) <= MAX_ITEMS
    assert client.conversation.chars <= MAX_CHARS
    assert len(json.dumps(client.settings.members)) <= MAX_SESSION_CHARS

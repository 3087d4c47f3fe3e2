"""Fuzz a GPT-Live session: lines that begin with a digit are a backend's events, all others its client's.
The first line is the session object.

Invariant: nothing raises but ConfigError for the session; what the backend is asked for is JSON with an id of
its own; every event for the client is JSON with a type and an id of its own, an `error` has its three texts,
and a transcript ends where it begins or later; and what is kept of either side stays within bounds.
"""

from __future__ import annotations

import json
from typing import Any

from core.errors import ConfigError
from tests.transceiver.live.kit import Scene
from transceiver.live.bridge import MAX_ASKED
from transceiver.live.transcripts import MAX_KEPT
from transceiver.observer import EndReason
from transceiver.realtime.client_events import decode_event_untrusted
from transceiver.realtime.json_text import decode_object_untrusted

MAX_LINES = 64


def test_one_input(data: bytes) -> None:
    """A session, and what both say in it, 20 ms apart."""
    first, *lines = data.decode(errors="replace").split("\n")[:MAX_LINES]
    try:
        session = decode_object_untrusted(first)
    except ValueError:
        session = {}
    try:
        scene = Scene(**session)
    except ConfigError:
        return
    scene.audience.wants_audio = True
    for line in lines:
        scene.tick()
        is_backend = line[:1].isdigit()
        event = decode_event_untrusted(line[1:] if is_backend else line)
        if event is None:
            continue
        if is_backend:
            scene.live.receive_server_event_untrusted(event)
        else:
            scene.live.receive_event(event)
    told = [*scene.told, *scene.noticed, scene.live.closed(EndReason.HANGUP)]
    _judge(json.loads(json.dumps(told)), json.loads(json.dumps(scene.backend.asked)))
    assert max(len(scene.live._asked), len(scene.live._items)) <= MAX_ASKED
    assert max(len(scene.live._caller._spans), len(scene.live._voice._speeches)) <= MAX_KEPT


def _judge(told: list[Any], asked: list[Any]) -> None:
    for events in (told, asked):
        ids = [event["event_id"] for event in events]
        assert len(set(ids)) == len(ids)
    for event in told:
        if event["type"] == "error":
            assert all(isinstance(event["error"][name], str) for name in ("type", "code", "message"))
        if "start_ms" in event:
            assert 0 <= event["start_ms"] <= event["end_ms"]

"""Fuzz what a backend over the network sends: messages, one a line, between the ticks of a call.

Invariant: any text is an event or raises BackendError, and any events in any order leave a call whose
audio adds up, whose queue is bounded, and whose client gets JSON with ids that do not repeat.
"""

from __future__ import annotations

import json

from core.errors import BackendError
from transceiver.backends.realtime.bridge import Bridge
from transceiver.backends.realtime.dialect import Dialect, decode_server_event_untrusted
from transceiver.backends.realtime.formats import FORMATS
from transceiver.backends.realtime.terms import BridgePlan
from transceiver.media import FRAME_NS, SAMPLE_RATE
from transceiver.observer import NullObserver
from transceiver.realtime.event import Event
from transceiver.realtime.settings import DEFAULTS
from transceiver.turns.budget import NO_WAY, Budgets

LIMIT_MS = 1000
_FORMATS = tuple(FORMATS.values())


def test_one_input(data: bytes) -> None:
    """The first byte chooses how the backend is set up."""
    choice = data[0] if data else 0
    plan = BridgePlan(
        _FORMATS[choice % 4],
        Dialect.BETA if choice & 4 else Dialect.GA,
        has_own_turns=bool(choice & 8),
        limit_ms=LIMIT_MS,
        has_tone=True,
    )
    told: list[Event] = []
    budgets = Budgets(NullObserver(), NO_WAY)
    bridge = Bridge(plan, "rtc_fuzz", DEFAULTS, budgets, told.append, lambda event: None)
    bridge.connected()
    bridge.opened()
    for number, line in enumerate(data[1:].decode("utf-8", "replace").split("\n")):
        try:
            bridge.receive_server_event_untrusted(decode_server_event_untrusted(line), number * FRAME_NS)
        except BackendError:
            continue
        bridge.speak(number * FRAME_NS)
    playout = bridge.answers.playout
    counts = playout.counts
    assert counts.received == counts.played + counts.dropped + playout.waiting
    assert playout.waiting <= LIMIT_MS * SAMPLE_RATE // 1000
    assert len({event["event_id"] for event in told}) == len(told)
    json.dumps(told, allow_nan=False)

"""What comes over the event channel, before a backend may see it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from transceiver.realtime.event import Event
from transceiver.realtime.json_text import decode_object_untrusted

MAX_EVENT_CHARS = 262_144
"""Longest client event that is decoded; the size that our answers announce (RFC 8841 §6)."""

NOT_AN_EVENT: Final[Event] = {
    "type": "error",
    "error": {
        "type": "invalid_request_error",
        "code": "invalid_event",
        "message": f"Send one JSON object per message, with a `type` that is text, of at most "
        f"{MAX_EVENT_CHARS} characters.",
    },
}
"""The answer to a message that is none."""

TOO_MANY_EVENTS: Final[Event] = {
    "type": "error",
    "error": {
        "type": "invalid_request_error",
        "code": "rate_limit_exceeded",
        "message": "The call has sent more events than it may: this one and others are left out.",
    },
}
"""The answer to the first of those that are dropped."""


@dataclass(slots=True)
class EventStats:
    """Counters of one session's event channel."""

    received: int = 0
    invalid: int = 0
    """Messages of the client that were not events."""
    refused: int = 0
    """Events that the client may not send."""
    limited: int = 0
    """Messages over the quota of the call, which were not read."""
    sent: int = 0
    dropped: int = 0
    """Events for the client that found the channel full or not open."""


COUNTERS: Final = ("received", "invalid", "refused", "limited", "sent", "dropped")
"""Members of `EventStats`, all of which may be summed over sessions."""


def decode_event_untrusted(text: str, max_chars: int = MAX_EVENT_CHARS) -> Event | None:
    """The event in a message: a JSON object with a `type`. None for anything else; never raises."""
    if len(text) > max_chars:
        return None
    try:
        event = decode_object_untrusted(text)
    except ValueError:
        return None
    return event if isinstance(event.get("type"), str) else None

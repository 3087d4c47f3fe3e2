"""The events of GPT-Live: which of a client's there are, and errors in their shape.

The types of OpenAI's packages are what this follows: `openai.types.live` of 3.57 (PyPI).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from transceiver.observer import EndReason
from transceiver.realtime.event import Event
from transceiver.realtime.server_events import shortened

APPENDS: Final[Mapping[str, str]] = {
    "session.instructions.append": "session.instructions.appended",
    "session.thinking.append": "session.thinking.appended",
    "session.commentary.append": "session.commentary.appended",
}
"""Each with its acknowledgement."""

NO_DELEGATION: Final = "This needs a delegation to Responses or Decisions, and there is none of them here."
NOT_SUPPORTED: Final[Mapping[str, tuple[str, str]]] = {
    "session.start": ("session_already_started", "The session has begun with its WebRTC connection."),
    "session.input_audio.append": (
        "invalid_event_for_transport",
        "The caller's audio comes by its media track.",
    ),
    "session.output_audio.fixture.play": ("not_supported", "Fixtures are not played here."),
    "transport.dtmf.send": ("not_supported", "This is for SIP, which is not served here."),
    "decision.create": ("not_supported", NO_DELEGATION),
    "decision.item.create": ("not_supported", NO_DELEGATION),
    "decision.item.delete": ("not_supported", NO_DELEGATION),
    "response.item.create": ("not_supported", NO_DELEGATION),
    "response.create": ("not_supported", NO_DELEGATION),
}
"""Events of the API that nobody here can follow: code and sentence of the error."""

CLOSED_BY: Final[Mapping[str, str]] = {
    EndReason.HANGUP: "close_requested",
    EndReason.TOO_LONG: "expired",
    EndReason.REMOTE_CLOSED: "remote_hangup",
}
"""`reason` of `session.closed`, by why a session has ended; all others are `LOST`. `content` is not among
them: nobody here looks at what is said.
"""
LOST: Final = "connection_lost"


def error_event(event_id: str, error: Mapping[str, object], client_event_id: str | None = None) -> Event:
    """An `error` of GPT-Live from the members of one of the Realtime API, whoever wrote it."""
    message, code = error.get("message"), error.get("code") or error.get("type")
    named: dict[str, object] = {} if client_event_id is None else {"client_event_id": client_event_id}
    param = shortened(error.get("param"))
    members: dict[str, object] = {
        "type": shortened(error.get("type")) or "server_error",
        "code": shortened(code) or "unknown",
        "message": message[:MAX_MESSAGE] if isinstance(message, str) and message else "There was an error.",
        **({} if param is None else {"param": param}),
        **named,
    }
    return {"type": "error", "event_id": event_id, "error": members, **named}


def from_realtime(event: Event, event_id: str) -> Event:
    """An `error` event of the Realtime API about what a client has sent, as one of GPT-Live."""
    error = event.get("error")
    members = error if isinstance(error, Mapping) else {}
    return error_event(event_id, members, shortened(members.get("event_id")))


MAX_MESSAGE: Final = 1024
"""Characters of a sentence that a backend has written."""

"""Errors that a session tells its client itself, whatever its backend. Shapes are the API's `error` event."""

from __future__ import annotations

from typing import Final

from transceiver.realtime.event import Event


def _error(kind: str, code: str, message: str) -> Event:
    return {"type": "error", "error": {"type": kind, "code": code, "message": message}}


ANOTHER_CHANNEL: Final = _error(
    "invalid_request_error",
    "channel_not_ours",
    "A session has one event channel, which this is. Another data channel was closed.",
)
EXPIRED: Final = _error(
    "invalid_request_error", "session_expired", "The session has reached the longest time that one may last."
)
DRAINED: Final = _error(
    "server_error", "server_shutting_down", "The server is being stopped. A new call may reach another one."
)
CRASHED: Final = _error(
    "server_error", "session_crashed", "The session has ended by a mistake of the server's. Call again."
)
SILENT: Final = _error(
    "invalid_request_error", "session_silent", "Nothing was heard from this client for too long."
)
BACKEND_GONE: Final = _error(
    "server_error", "backend_gone", "What answers this call is gone and does not come back. Call again."
)
FINAL_CODES: Final = (
    "session_expired",
    "server_shutting_down",
    "session_crashed",
    "session_silent",
    "backend_gone",
)
"""Of these: nothing comes after one of them."""

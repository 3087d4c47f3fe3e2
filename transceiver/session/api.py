"""The two APIs by which a client may have come: what of a session's own words depends on which.

A backend speaks the Realtime protocol whatever its client does; `transceiver.live` stands before it where the
client speaks GPT-Live.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from transceiver.live.events import from_realtime
from transceiver.observer import EndReason
from transceiver.realtime import errors
from transceiver.realtime.event import Event


@dataclass(frozen=True, slots=True)
class ClientApi:
    """One of them."""

    name: str
    """A metric label."""
    prefix: str
    """Of session ids."""
    opening: str
    """The type of the first event."""
    has_fixed_permissions: bool
    """Whether what a client may send and see stays as it began."""
    word: Callable[[Event, str], Event]
    """Makes of an `error` event of the Realtime API's one of this; the id is for one that has none."""

    @property
    def states(self) -> tuple[str, str]:
        """Types of the events that have the whole session."""
        return (self.opening, "session.updated")


def _numbered(error: Event, event_id: str) -> Event:
    return {"event_id": event_id, **error}


REALTIME: Final = ClientApi("realtime", "rtc_", "session.created", False, _numbered)
LIVE: Final = ClientApi("live", "live_", "session.started", True, from_realtime)

LAST_WORDS: Final[dict[str, Event]] = {
    EndReason.TOO_LONG: errors.EXPIRED,
    EndReason.DRAINED: errors.DRAINED,
    EndReason.CRASHED: errors.CRASHED,
    EndReason.SILENT: errors.SILENT,
    EndReason.BACKEND_GONE: errors.BACKEND_GONE,
}
"""What a client is told before its session ends, by why it does. Who has hung up knows."""

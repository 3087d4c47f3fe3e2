"""What a caller asks for, by whichever API."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from core.config import UNLIMITED
from transceiver.live.settings import LiveSettings
from transceiver.realtime.event import Event
from transceiver.realtime.permissions import EVERYTHING, Permissions
from transceiver.sdp import Offer
from transceiver.session.api import LIVE, REALTIME, ClientApi


@dataclass(frozen=True, slots=True)
class EventQuota:
    """How many events a call may send, over its channel and its sidebands together."""

    per_s: int = UNLIMITED
    burst: int = UNLIMITED
    refused: Callable[[], None] = lambda: None
    """Told of each that is over it."""


NO_EVENT_QUOTA = EventQuota()


@dataclass(frozen=True, slots=True)
class CallRequest:
    """What a caller asks for."""

    offer: Offer
    settings: Event
    """For the backend: the `session` object of the request, possibly empty."""
    owner: str
    """Whose call it is: the name of the API key that it is made with."""
    permissions: Permissions = EVERYTHING
    """Of its event channel."""
    live: LiveSettings | None = None
    """The settings in the words of GPT-Live, where that is what the caller speaks."""
    begins_s: int = 0
    """Unix time, which those callers are told the session's end by."""

    secret: str = ""
    """What tells its client secret from others, where it was made with one."""
    events: EventQuota = NO_EVENT_QUOTA

    @property
    def holders(self) -> tuple[str, ...]:
        """To whom it counts: names of keys have no colon."""
        return (self.owner, f"secret:{self.secret}") if self.secret else (self.owner,)

    @property
    def api(self) -> ClientApi:
        """What the caller speaks."""
        return REALTIME if self.live is None else LIVE

"""What a caller asks for, by whichever API."""

from __future__ import annotations

from dataclasses import dataclass

from transceiver.live.settings import LiveSettings
from transceiver.realtime.event import Event
from transceiver.realtime.permissions import EVERYTHING, Permissions
from transceiver.sdp import Offer
from transceiver.session.api import LIVE, REALTIME, ClientApi


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

    @property
    def api(self) -> ClientApi:
        """What the caller speaks."""
        return REALTIME if self.live is None else LIVE

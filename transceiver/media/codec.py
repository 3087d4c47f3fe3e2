"""What two sides agree on for their audio."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AudioCodec:
    """What SDP agreed on for Opus (RFC 7587 §6.1): the payload type, and what the peer wants to receive."""

    payload_type: int
    fec: bool = True
    """Peer's useinbandfec."""
    dtx: bool = False
    """Peer's usedtx."""
    max_average_bitrate: int | None = None
    """Peer's maxaveragebitrate in bit/s."""
    telephone_event: int | None = None
    """Payload type of RFC 4733 events, which are received and ignored."""

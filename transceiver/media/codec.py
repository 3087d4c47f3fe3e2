"""What two sides agree on for their audio."""

from __future__ import annotations

from dataclasses import dataclass

PACKET_MS = (10, 20, 40, 60)
"""Lengths of an Opus packet that we send (RFC 7587 §6.1: ptime and maxptime), one Opus frame each."""


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
    packet_ms: int = 20
    """How much audio the peer wants in a packet: one of `PACKET_MS`."""

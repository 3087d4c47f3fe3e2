"""What a datagram is, by its first byte (RFC 7983 §7, RFC 5761 §4)."""

from __future__ import annotations

from enum import Enum


class PacketKind(Enum):
    """The protocols that share one WebRTC port."""

    STUN = "stun"
    DTLS = "dtls"
    MEDIA = "media"
    """RTP or RTCP, protected or not; `is_rtcp` tells them apart."""
    OTHER = "other"
    """ZRTP, TURN channels, QUIC and noise: nothing that a Voxpop port speaks."""


def _kind(first_byte: int) -> PacketKind:
    if first_byte <= 3:
        return PacketKind.STUN
    if 20 <= first_byte <= 63:
        return PacketKind.DTLS
    if 128 <= first_byte <= 191:
        return PacketKind.MEDIA
    return PacketKind.OTHER


KIND_BY_FIRST_BYTE: tuple[PacketKind, ...] = tuple(_kind(b) for b in range(256))
"""For hot loops: index with `data[0]`. An empty datagram has no first byte: check before."""


def classify_untrusted(data: bytes | bytearray | memoryview) -> PacketKind:
    """The kind of any datagram, empty ones included. Never raises."""
    return KIND_BY_FIRST_BYTE[data[0]] if len(data) else PacketKind.OTHER


def is_rtcp(data: bytes | bytearray | memoryview) -> bool:
    """Whether a MEDIA datagram is RTCP: packet types 64–95 with the marker bit (RFC 5761 §4)."""
    return len(data) >= 2 and 192 <= data[1] <= 223

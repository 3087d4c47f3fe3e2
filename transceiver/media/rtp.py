"""RTP packets (RFC 3550 §5.1)."""

from __future__ import annotations

import struct
from enum import StrEnum
from typing import NamedTuple

from core.errors import MediaError

_HEADER = struct.Struct("!BBHII")
_VERSION_2 = 0x80
_MARKER = 0x80


class RtpReason(StrEnum):
    """Why bytes are not an RTP packet."""

    SHORT = "rtp_short"
    VERSION = "rtp_version"
    CSRC = "rtp_csrc"
    EXTENSION = "rtp_extension"
    PADDING = "rtp_padding"


class RtpPacket(NamedTuple):
    """One RTP packet without what we do not use: contributing sources and header extensions."""

    payload_type: int
    marker: bool
    sequence: int
    """16 bits."""
    timestamp: int
    """32 bits, in ticks of the payload's clock."""
    ssrc: int
    payload: bytes


def parse_rtp_untrusted(data: bytes) -> RtpPacket:
    """Parse a decrypted RTP packet. Raises `MediaError` with an `RtpReason`.

    Header extensions are skipped by their length: the one-byte and two-byte forms of RFC 8285 differ
    only inside it.
    """
    if len(data) < _HEADER.size:
        raise MediaError(RtpReason.SHORT)
    first, second, sequence, timestamp, ssrc = _HEADER.unpack_from(data)
    if first & 0xC0 != _VERSION_2:
        raise MediaError(RtpReason.VERSION)
    start, end = _HEADER.size, len(data)
    if first & 0x3F:
        start, end = _payload_bounds(data, first)
    return RtpPacket(second & 0x7F, second >= _MARKER, sequence, timestamp, ssrc, data[start:end])


def _payload_bounds(data: bytes, first: int) -> tuple[int, int]:
    """Where the payload starts and ends in a packet with contributing sources, extension or padding."""
    start = _HEADER.size + 4 * (first & 0x0F)
    if start > len(data):
        raise MediaError(RtpReason.CSRC)
    if first & 0x10:
        if start + 4 > len(data):
            raise MediaError(RtpReason.EXTENSION)
        start += 4 + 4 * int.from_bytes(data[start + 2 : start + 4])
        if start > len(data):
            raise MediaError(RtpReason.EXTENSION)
    if not first & 0x20:
        return start, len(data)
    # The last octet counts the padding, itself included, so 0 is a lie; so is more than there is.
    end = len(data) - data[-1]
    if data[-1] == 0 or end < start:
        raise MediaError(RtpReason.PADDING)
    return start, end


def build_rtp(packet: RtpPacket) -> bytes:
    """The packet as bytes, without extensions or padding."""
    second = packet.payload_type | (_MARKER if packet.marker else 0)
    header = _HEADER.pack(_VERSION_2, second, packet.sequence, packet.timestamp, packet.ssrc)
    return header + packet.payload

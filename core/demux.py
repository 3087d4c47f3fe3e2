"""What a datagram is, by its first byte (RFC 7983 §7, RFC 5761 §4), and whether it can be that at all."""

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


_STUN_HEADER = 20
_STUN_COOKIE = b"\x21\x12\xa4\x42"
_UNIFIED = 32
"""DTLS 1.3's first bytes, 001CSLEE (RFC 9147 §4); those of older records are below."""
_CONNECTION_ID, _LONG_SEQUENCE, _HAS_LENGTH = 0x10, 0x08, 0x04
_MIN_CIPHERTEXT = 16
"""RFC 9147 §4.2.3."""
_RECORD_HEADER = 13
_RECORD_MAJOR = 0xFE
_SHORTEST = _RECORD_HEADER + 1
_RTP_HEADER, _RTP_EXTENSION = 12, 0x10
_MIN_TAG, _MIN_SRTCP_TRAILER = 4, 8
"""AES_CM_128_HMAC_SHA1_32's tag (RFC 5764 §4.1.2); an index and as much (RFC 3711 §3.4)."""


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


def is_well_formed_untrusted(data: bytes | bytearray | memoryview) -> bool:
    """Whether a datagram has the bytes that its first header, as far as it is in clear, speaks of.

    What a session of ours could take always has; of noise, one datagram in eight. Never raises. The fast path
    says the same (vp_is_well_formed() of ebpf/prog/parse.h).
    """
    size = len(data)
    if size < _SHORTEST:
        return False
    first = data[0]
    kind = KIND_BY_FIRST_BYTE[first]
    if kind is PacketKind.MEDIA:
        return _is_media(data, first, size)
    if kind is PacketKind.STUN:
        return size >= _STUN_HEADER and data[4:8] == _STUN_COOKIE
    if kind is not PacketKind.DTLS:
        return False
    if first < _UNIFIED:
        return data[1] == _RECORD_MAJOR and _RECORD_HEADER + (data[11] << 8 | data[12]) <= size
    return _is_unified(data, first, size)


def _is_media(data: bytes | bytearray | memoryview, first: int, size: int) -> bool:
    """SRTP with its sources and its extension (RFC 3550 §5.1, §5.3.1), or SRTCP's first packet (§6.1)."""
    if is_rtcp(data):
        return 4 + 4 * (data[2] << 8 | data[3]) + _MIN_SRTCP_TRAILER <= size
    if 64 <= data[1] <= 95:
        return False
    end = _RTP_HEADER + 4 * (first & 0x0F)
    if first & _RTP_EXTENSION:
        if end + 4 > size:
            return False
        end += 4 + 4 * (data[end + 2] << 8 | data[end + 3])
    return end + _MIN_TAG <= size


def _is_unified(data: bytes | bytearray | memoryview, first: int, size: int) -> bool:
    """A record of DTLS 1.3. Connection ids have to be agreed on, which WebRTC does not."""
    if first & _CONNECTION_ID:
        return False
    end = 3 if first & _LONG_SEQUENCE else 2
    if first & _HAS_LENGTH:
        return end + 2 + (data[end] << 8 | data[end + 1]) <= size
    return end + _MIN_CIPHERTEXT <= size

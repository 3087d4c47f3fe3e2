"""DTLS records (RFC 6347 §4.1, RFC 9147 §4): where one ends and the next begins."""

from __future__ import annotations

from collections.abc import Iterator

_PLAIN_HEADER = 13
"""Type, version, epoch, sequence number and length (16 bits, last)."""
_UNIFIED = 0b001_00000
"""The first three bits of DTLS 1.3's shorter header; then: connection id, 16-bit sequence, length."""


def pack_records(flight: bytes, mtu: int) -> Iterator[bytes]:
    """Cut what OpenSSL wrote into datagrams of at most `mtu` bytes, never within a record.

    Several handshake messages of a flight share a datagram, which saves the peer's kernel work and us
    packets to lose. A single record over the MTU goes alone.
    """
    start = end = 0
    while end < len(flight):
        following = end + _record_size(flight, end)
        if following - start > mtu and end > start:
            yield flight[start:end]
            start = end
        end = following
    if end > start:
        yield flight[start:end]


def _record_size(flight: bytes, at: int) -> int:
    """The record's size; all that is left when its header does not say."""
    first = flight[at]
    if first & 0b111_00000 != _UNIFIED:
        size = _PLAIN_HEADER + int.from_bytes(flight[at + 11 : at + _PLAIN_HEADER], "big")
    elif first & 0b100:
        header = 5 if first & 0b1000 else 4
        size = header + int.from_bytes(flight[at + header - 2 : at + header], "big")
    else:
        size = len(flight) - at
    return min(size, len(flight) - at)

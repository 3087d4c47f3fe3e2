"""What an SCTP packet must be before the stack behind it may see it (RFC 9260 §3).

The sender has been authenticated, which makes it a caller, not a friend. The stack trusts lengths
and counts that it should not: a parameter of length zero is read forever, a SACK may claim a few
million chunks, every stream number makes an object. Packets of that kind stop here.
"""

from __future__ import annotations

import struct

from transceiver.transport.reasons import SctpReason

MAX_STREAMS = 1024
"""Stream numbers that we take and announce; a caller uses one, and may have agreed on any with itself. As
many as Chromium has."""
MAX_ACKNOWLEDGED = 1024
"""Chunks that the gap blocks of one SACK may cover; we never have that many in flight."""

_COMMON_HEADER = 12
_CHUNK = struct.Struct("!BBH")
_U16 = struct.Struct("!H")
_U32 = struct.Struct("!L")
_GAP = struct.Struct("!HH")

_DATA, _INIT, _INIT_ACK, _SACK = 0, 1, 2, 3
_SHUTDOWN = 7
_FORWARD_TSN = 192
_SMALLEST = {_DATA: 12, _INIT: 16, _INIT_ACK: 16, _SACK: 12, _SHUTDOWN: 4, _FORWARD_TSN: 4}
"""Bytes that follow the chunk header at least."""
_PARAMETERS_AT = {_INIT: 16, _INIT_ACK: 16, 4: 0, 5: 0, 6: 0, 9: 0, 130: 0}
"""Where the parameters or causes begin: also HEARTBEAT and its ACK, ABORT, ERROR, RE-CONFIG."""


def find_fault_untrusted(packet: bytes) -> SctpReason | None:
    """Why the packet must not be processed; None when it may. Never raises."""
    size = len(packet)
    position = _COMMON_HEADER
    while position + _CHUNK.size <= size:
        kind, _, length = _CHUNK.unpack_from(packet, position)
        if length < _CHUNK.size or position + length > size:
            return SctpReason.MALFORMED
        fault = _find_chunk_fault_untrusted(kind, packet[position + _CHUNK.size : position + length])
        if fault is not None:
            return fault
        if kind in (_INIT, _INIT_ACK) and (position != _COMMON_HEADER or position + length + 3 < size):
            return SctpReason.MALFORMED  # RFC 9260 §3.3.2: these two are never bundled
        position += (length + 3) & ~3
    return SctpReason.MALFORMED if position == _COMMON_HEADER else None


def carries_data_untrusted(packet: bytes) -> bool:
    """Whether DATA is among the chunks, wherever. Never raises."""
    position = _COMMON_HEADER
    while position + _CHUNK.size <= len(packet):
        kind, _, length = _CHUNK.unpack_from(packet, position)
        if kind == _DATA:
            return True
        position += max(_CHUNK.size, (length + 3) & ~3)
    return False


def read_verification_tag_untrusted(packet: bytes) -> int | None:
    """Which association the packet is for (RFC 9260 §3.1); None for what is too short to say."""
    return _U32.unpack_from(packet, 4)[0] if len(packet) >= _COMMON_HEADER else None


def read_initiate_tag_untrusted(packet: bytes) -> int | None:
    """The tag that an INIT offers (RFC 9260 §3.3.2), which is alone in its packet; None of any other."""
    if len(packet) < _COMMON_HEADER + 2 * _CHUNK.size or packet[_COMMON_HEADER] != _INIT:
        return None
    return int(_U32.unpack_from(packet, _COMMON_HEADER + _CHUNK.size)[0])


def _find_chunk_fault_untrusted(kind: int, body: bytes) -> SctpReason | None:
    if len(body) < _SMALLEST.get(kind, 0):
        return SctpReason.MALFORMED
    if kind == _DATA:
        return None if _U16.unpack_from(body, 4)[0] < MAX_STREAMS else SctpReason.BAD_STREAM
    if kind == _SACK:
        return _find_sack_fault_untrusted(body)
    if kind == _FORWARD_TSN:
        return _find_forward_fault_untrusted(body)
    if kind in _PARAMETERS_AT:
        return _find_parameter_fault_untrusted(body, _PARAMETERS_AT[kind])
    return None


def _find_sack_fault_untrusted(body: bytes) -> SctpReason | None:
    """RFC 9260 §3.3.4: counts of gap blocks and duplicates at 8 and 10, the blocks from 12 on."""
    gaps, duplicates = _GAP.unpack_from(body, 8)
    if 12 + 4 * (gaps + duplicates) != len(body):
        return SctpReason.MALFORMED
    covered = 0
    for start, end in _GAP.iter_unpack(body[12 : 12 + 4 * gaps]):
        if not 0 < start <= end:
            return SctpReason.BAD_ACKNOWLEDGEMENT
        covered += end - start + 1
    return SctpReason.BAD_ACKNOWLEDGEMENT if covered > MAX_ACKNOWLEDGED else None


def _find_forward_fault_untrusted(body: bytes) -> SctpReason | None:
    """RFC 3758 §3.2: stream and sequence number pairs from 4 on."""
    if len(body) % 4:
        return SctpReason.MALFORMED
    streams = (stream for stream, _ in _GAP.iter_unpack(body[4:]))
    return SctpReason.BAD_STREAM if any(s >= MAX_STREAMS for s in streams) else None


def _find_parameter_fault_untrusted(body: bytes, position: int) -> SctpReason | None:
    while position + 4 <= len(body):
        length = _U16.unpack_from(body, position + 2)[0]
        if length < 4 or position + length > len(body):
            return SctpReason.BAD_PARAMETER
        position += (length + 3) & ~3
    return None

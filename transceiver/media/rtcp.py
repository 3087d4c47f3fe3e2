"""RTCP packets: sender and receiver reports, CNAME and BYE (RFC 3550 §6)."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple

from core.errors import MediaError

_HEADER = struct.Struct("!BBH")
_SENDER_INFO = struct.Struct("!IIIII")
_BLOCK = struct.Struct("!IIIIII")
_SR, _RR, _SDES, _BYE = 200, 201, 202, 203
_CNAME = 1


class RtcpReason(StrEnum):
    """Why bytes are not an RTCP packet."""

    SHORT = "rtcp_short"
    VERSION = "rtcp_version"
    LENGTH = "rtcp_length"
    PADDING = "rtcp_padding"
    COUNT = "rtcp_count"


class ReportBlock(NamedTuple):
    """What a receiver says of one sender (RFC 3550 §6.4.1)."""

    ssrc: int
    fraction_lost: int
    """Since its last report, in 1/256."""
    lost: int
    """Since the beginning; may be negative, since duplicates count as received."""
    highest_sequence: int
    """Extended, 32 bits."""
    jitter: int
    """In ticks of the media clock."""
    last_report: int
    """Middle 32 bits of the NTP time of the last SR from that sender; 0 when there was none."""
    delay: int
    """From that SR to this report, in 1/65536 s."""


class SenderReport(NamedTuple):
    """SR (RFC 3550 §6.4.1)."""

    ssrc: int
    ntp: int
    """64-bit NTP format: seconds and fraction of 32 bits each."""
    timestamp: int
    """The RTP timestamp of the same moment."""
    packets: int
    octets: int
    blocks: tuple[ReportBlock, ...]


class ReceiverReport(NamedTuple):
    """RR (RFC 3550 §6.4.2)."""

    ssrc: int
    blocks: tuple[ReportBlock, ...]


class Bye(NamedTuple):
    """BYE (RFC 3550 §6.6): these sources leave."""

    ssrcs: tuple[int, ...]


RtcpPacket = SenderReport | ReceiverReport | Bye


def parse_rtcp_untrusted(data: bytes) -> list[RtcpPacket]:
    """The reports and BYEs of a decrypted compound packet; other types are skipped by their length.

    Reduced-size packets (RFC 5506), which start with any type, are accepted. Raises `MediaError` with
    an `RtcpReason`, and then nothing of the datagram counts.
    """
    if not data:
        raise MediaError(RtcpReason.SHORT)
    packets: list[RtcpPacket] = []
    offset = 0
    while offset < len(data):
        if offset + _HEADER.size > len(data):
            raise MediaError(RtcpReason.SHORT)
        first, kind, words = _HEADER.unpack_from(data, offset)
        if first >> 6 != 2:
            raise MediaError(RtcpReason.VERSION)
        end = offset + 4 * (words + 1)
        if end > len(data):
            raise MediaError(RtcpReason.LENGTH)
        body = _body(data[offset + _HEADER.size : end], padded=bool(first & 0x20), last=end == len(data))
        if kind in _PARSERS:
            packets.append(_PARSERS[kind](body, first & 0x1F))
        offset = end
    return packets


def _body(body: bytes, *, padded: bool, last: bool) -> bytes:
    """The body without padding, which only the last packet of a compound may have (RFC 3550 §6.4.1)."""
    if not padded:
        return body
    if not last or not body or body[-1] == 0 or body[-1] % 4 or body[-1] > len(body):
        raise MediaError(RtcpReason.PADDING)
    return body[: -body[-1]]


def _parse_sender_report(body: bytes, count: int) -> SenderReport:
    if len(body) < 4 + _SENDER_INFO.size:
        raise MediaError(RtcpReason.SHORT)
    seconds, fraction, timestamp, packets, octets = _SENDER_INFO.unpack_from(body, 4)
    blocks = _parse_blocks(body[4 + _SENDER_INFO.size :], count)
    ssrc = int.from_bytes(body[:4])
    return SenderReport(ssrc, seconds << 32 | fraction, timestamp, packets, octets, blocks)


def _parse_receiver_report(body: bytes, count: int) -> ReceiverReport:
    if len(body) < 4:
        raise MediaError(RtcpReason.SHORT)
    return ReceiverReport(int.from_bytes(body[:4]), _parse_blocks(body[4:], count))


def _parse_blocks(body: bytes, count: int) -> tuple[ReportBlock, ...]:
    if count * _BLOCK.size > len(body):
        raise MediaError(RtcpReason.COUNT)
    return tuple(_parse_block(body, index * _BLOCK.size) for index in range(count))


def _parse_block(body: bytes, offset: int) -> ReportBlock:
    ssrc, loss, highest, jitter, last_report, delay = _BLOCK.unpack_from(body, offset)
    lost = loss & 0xFFFFFF
    if lost & 0x800000:
        lost -= 1 << 24
    return ReportBlock(ssrc, loss >> 24, lost, highest, jitter, last_report, delay)


def _parse_bye(body: bytes, count: int) -> Bye:
    if 4 * count > len(body):
        raise MediaError(RtcpReason.COUNT)
    return Bye(struct.unpack_from(f"!{count}I", body))


_PARSERS: Mapping[int, Callable[[bytes, int], RtcpPacket]] = {
    _SR: _parse_sender_report,
    _RR: _parse_receiver_report,
    _BYE: _parse_bye,
}


def build_rtcp(packet: RtcpPacket) -> bytes:
    """One packet as bytes; concatenate them to a compound that starts with a report."""
    if isinstance(packet, SenderReport):
        info = _SENDER_INFO.pack(
            packet.ntp >> 32, packet.ntp & 0xFFFFFFFF, packet.timestamp, packet.packets, packet.octets
        )
        body = packet.ssrc.to_bytes(4) + info + _build_blocks(packet.blocks)
        return _build(_SR, len(packet.blocks), body)
    if isinstance(packet, ReceiverReport):
        return _build(_RR, len(packet.blocks), packet.ssrc.to_bytes(4) + _build_blocks(packet.blocks))
    return _build(_BYE, len(packet.ssrcs), struct.pack(f"!{len(packet.ssrcs)}I", *packet.ssrcs))


def build_cname(ssrc: int, cname: str) -> bytes:
    """SDES with the CNAME of one source (RFC 3550 §6.5), at most 255 bytes of UTF-8."""
    text = cname.encode()
    item = bytes((_CNAME, len(text))) + text
    # The list of items ends with at least one zero octet, and the chunk on a 32-bit boundary.
    return _build(_SDES, 1, ssrc.to_bytes(4) + item + bytes(4 - len(item) % 4))


def _build_blocks(blocks: Sequence[ReportBlock]) -> bytes:
    return b"".join(_BLOCK.pack(b.ssrc, b.fraction_lost << 24 | b.lost & 0xFFFFFF, *b[3:]) for b in blocks)


def _build(kind: int, count: int, body: bytes) -> bytes:
    return _HEADER.pack(0x80 | count, kind, len(body) // 4) + body

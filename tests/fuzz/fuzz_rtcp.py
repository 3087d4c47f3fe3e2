"""Fuzz RTCP: `parse_rtcp_untrusted` and the statistics that its reports feed.

Invariant: any bytes either raise MediaError, or give packets that, written and parsed again, are the
same packets, and no report of any content makes a round trip negative or a report block unpackable.
"""

from __future__ import annotations

from core.errors import MediaError
from transceiver.media.reception import Reception, round_trip_ns
from transceiver.media.rtcp import (
    Bye,
    ReceiverReport,
    RtcpPacket,
    SenderReport,
    build_rtcp,
    parse_rtcp_untrusted,
)

_NOW_NS = 1 << 60


def test_one_input(data: bytes) -> None:
    """Parse the input as one compound packet."""
    try:
        packets = parse_rtcp_untrusted(data)
    except MediaError:
        return
    if packets:
        assert parse_rtcp_untrusted(b"".join(map(build_rtcp, packets))) == packets
    for packet in packets:
        _use(packet)


def _use(packet: RtcpPacket) -> None:
    if isinstance(packet, Bye):
        return
    for block in packet.blocks:
        round_trip = round_trip_ns(block, _NOW_NS)
        assert round_trip is None or round_trip >= 0
    if isinstance(packet, SenderReport):
        reception = Reception(packet.ssrc, packet.timestamp & 0xFFFF)
        reception.note_sender_report(packet.ntp, _NOW_NS)
        assert build_rtcp(ReceiverReport(1, (reception.report(_NOW_NS + packet.packets),)))

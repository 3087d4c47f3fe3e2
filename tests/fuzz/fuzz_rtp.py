"""Fuzz RTP and what its payload goes through: `parse_rtp_untrusted`, the jitter buffer, libopus.

Invariant: any bytes either raise MediaError, or give a packet whose payload lies inside them and which,
written and parsed again, is the same packet. Any payload either is refused or played, and each pull
gives one frame; what waits stays within its bounds.
"""

from __future__ import annotations

from core.errors import MediaError
from transceiver.media import FRAME_BYTES, FRAME_NS
from transceiver.media.jitter import MAX_PACKETS
from transceiver.media.playout import Playout
from transceiver.media.rtp import RtpPacket, build_rtp, parse_rtp_untrusted

_MAX_PACKETS_PER_INPUT = 2 * MAX_PACKETS


def test_one_input(data: bytes) -> None:
    """Parse the input as one packet, then play it as a stream of packets with 16-bit lengths before."""
    _parse(data)
    playout, now_ns = Playout(), 0
    for index, packet in enumerate(_split(data)):
        parsed = _parse(packet)
        if parsed is not None:
            playout.insert(parsed.sequence, parsed.timestamp, parsed.payload, now_ns)
        if index % 4 == 3:
            now_ns += FRAME_NS
            pcm = playout.pull(now_ns)
            assert pcm is None or len(pcm) == FRAME_BYTES
    playout.close()


def _parse(data: bytes) -> RtpPacket | None:
    try:
        packet = parse_rtp_untrusted(data)
    except MediaError:
        return None
    assert packet.payload in data
    assert parse_rtp_untrusted(build_rtp(packet)) == packet
    return packet


def _split(data: bytes) -> list[bytes]:
    packets: list[bytes] = []
    while len(data) > 2 and len(packets) < _MAX_PACKETS_PER_INPUT:
        end = 2 + int.from_bytes(data[:2]) % 512
        packets.append(data[2:end])
        data = data[end:]
    return packets

"""Media of many clients at once from one socket, each packet with its own source address (raw(7), IPv4)."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Sequence
from ipaddress import IPv4Address

from core.addr import Endpoint

RTP = bytes.fromhex("806f0001000003c0deadbeef") + bytes(20)
"""A packet of media as far as a relay looks: version 2, payload type 111."""
CHUNK = 100
"""Packets between two looks at the clock."""
_UDP = struct.Struct("!HHHH")
_IPV4_BYTES, _TTL = 20, 64


def datagram(source: Endpoint, destination: Endpoint, payload: bytes = RTP) -> bytes:
    """An IPv4 packet with its checksums (RFC 791, RFC 768)."""
    addresses = IPv4Address(source.host).packed + IPv4Address(destination.host).packed
    length = _UDP.size + len(payload)
    udp = _UDP.pack(source.port, destination.port, length, 0)
    pseudo = addresses + struct.pack("!HH", socket.IPPROTO_UDP, length)
    sum_ = _checksum(pseudo + udp + payload) or 0xFFFF  # none is written as zero
    header = struct.pack("!BBHHHBBH", 0x45, 0, _IPV4_BYTES + length, 0, 0x4000, _TTL, socket.IPPROTO_UDP, 0)
    own = _checksum(header + addresses)
    return (
        header[:10] + own.to_bytes(2, "big") + addresses
        + udp[:6] + sum_.to_bytes(2, "big") + payload
    )  # fmt: skip


def _checksum(data: bytes) -> int:
    """RFC 1071."""
    padded = data + b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


class Flood:
    """A context manager: meanwhile each of the packets is sent once in `round_s`, again and again. Make it in
    the namespace that they are to leave from.
    """

    def __init__(self, packets: Sequence[bytes], to: Endpoint, round_s: float) -> None:
        self._packets = packets
        self._to = (to.host, 0)
        self._pause_s = round_s * CHUNK / len(packets)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.sent = 0

    def _run(self) -> None:
        while True:
            for begin in range(0, len(self._packets), CHUNK):
                if self._is_over.wait(self._pause_s):
                    return
                for packet in self._packets[begin : begin + CHUNK]:
                    self._socket.sendto(packet, self._to)
                self.sent += CHUNK

    def __enter__(self) -> Flood:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()
        self._socket.close()

"""Ethernet frames built from their parts, and taken apart again with every checksum recomputed.

What a test expects is built here from scratch, with full checksums, and compared byte by byte with what
the fast path made by incremental ones.
"""

from __future__ import annotations

import dataclasses
import socket
import struct
from dataclasses import dataclass

from core.addr import Endpoint, IpFamily, pack_address

CLIENT_MAC = bytes.fromhex("020000000001")
POP_MAC = bytes.fromhex("020000000002")
UDP = socket.IPPROTO_UDP
MORE_FRAGMENTS = 0x2000
DONT_FRAGMENT = 0x4000


def ones_sum(data: bytes) -> int:
    """The one's complement sum of 16-bit words (RFC 1071)."""
    total: int = sum(struct.unpack(f"!{(len(data) + 1) // 2}H", data + bytes(len(data) % 2)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


@dataclass(frozen=True)
class UdpFrame:
    """A UDP datagram in an Ethernet frame; `bytes()` of it is the frame, whole and with full checksums."""

    source: Endpoint
    destination: Endpoint
    payload: bytes
    macs: bytes = POP_MAC + CLIENT_MAC
    tags: tuple[tuple[int, int], ...] = ()
    """(type, TCI), the outer one first."""
    ttl: int = 64
    traffic_class: int = 0
    checksum: bool = True
    """False sends zero: "no checksum"."""
    identification: int = 0x1234
    fragment: int = DONT_FRAGMENT
    """Flags and offset of IPv4."""
    options: bytes = b""
    """Of IPv4, a multiple of four bytes."""
    extensions: tuple[tuple[int, bytes], ...] = ()
    """(number, whole header but for its first byte) of each IPv6 extension header."""
    flow_label: int = 0x54321
    padding: bytes = b""
    """Behind the packet, as Ethernet fills short frames."""

    def but(self, **changes: object) -> UdpFrame:
        """The same with other parts."""
        return dataclasses.replace(self, **changes)  # type: ignore[arg-type]

    @property
    def is_ipv6(self) -> bool:
        """Whether the packet is IPv6."""
        return self.source.family is IpFamily.V6

    @property
    def l3_bytes(self) -> int:
        """The length of the packet."""
        extensions = sum(1 + len(rest) for _, rest in self.extensions)
        return (40 + extensions if self.is_ipv6 else 20 + len(self.options)) + 8 + len(self.payload)

    def __bytes__(self) -> bytes:
        ethertype = 0x86DD if self.is_ipv6 else 0x0800
        tags = b"".join(struct.pack("!HH", *tag) for tag in self.tags)
        packet = self._ipv6() if self.is_ipv6 else self._ipv4()
        return self.macs + tags + ethertype.to_bytes(2, "big") + packet + self.padding

    def _addresses(self) -> bytes:
        return b"".join(pack_address(e.host) for e in (self.source, self.destination))

    def _udp(self) -> bytes:
        length = 8 + len(self.payload)
        header = struct.pack("!4H", self.source.port, self.destination.port, length, 0)
        check = 0
        if self.checksum:
            pseudo = self._addresses() + struct.pack("!LL", length, UDP)
            check = ~ones_sum(pseudo + header + self.payload) & 0xFFFF or 0xFFFF
        return header[:6] + check.to_bytes(2, "big") + self.payload

    def _ipv4(self) -> bytes:
        udp = self._udp()
        ihl = 5 + len(self.options) // 4
        header = struct.pack(
            "!BBHHHBBH",
            0x40 | ihl,
            self.traffic_class,
            4 * ihl + len(udp),
            self.identification,
            self.fragment,
            self.ttl,
            UDP,
            0,
        )
        header += self._addresses() + self.options
        check = ~ones_sum(header) & 0xFFFF
        return header[:10] + check.to_bytes(2, "big") + header[12:] + udp

    def _ipv6(self) -> bytes:
        numbers = [number for number, _ in self.extensions] + [UDP]
        chain = b"".join(
            bytes([following]) + rest
            for (_, rest), following in zip(self.extensions, numbers[1:], strict=True)
        )
        body = chain + self._udp()
        first = 6 << 28 | self.traffic_class << 20 | self.flow_label
        return struct.pack("!LHBB", first, len(body), numbers[0], self.ttl) + self._addresses() + body


def check_sums(frame: bytes) -> None:
    """Recompute every checksum of a plain UDP frame, as its receiver would. AssertionError."""
    at, ethertype = 12, int.from_bytes(frame[12:14], "big")
    while ethertype in (0x8100, 0x88A8):
        at += 4
        ethertype = int.from_bytes(frame[at : at + 2], "big")
    packet = frame[at + 2 :]
    if ethertype == 0x0800:
        header, addresses = (packet[0] & 15) * 4, packet[12:20]
        assert ones_sum(packet[:header]) == 0xFFFF
    else:
        assert ethertype == 0x86DD
        header, addresses = 40, packet[8:40]
    length, check = struct.unpack_from("!HH", packet, header + 4)
    if check:
        datagram = packet[header : header + length]
        assert ones_sum(addresses + struct.pack("!LL", length, UDP) + datagram) == 0xFFFF

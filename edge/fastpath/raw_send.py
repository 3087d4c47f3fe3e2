"""Sending datagrams from a port that no socket is bound to: a NAT port of a backbone address."""

from __future__ import annotations

import socket
import struct

from core.addr import Endpoint

IPV6_HDRINCL = 36
"""<linux/in6.h>; the socket module has no name for it."""
HOP_LIMIT = 64
BUFFER_BYTES = 1 << 20
_IPV4 = struct.Struct("!BBHHHBBH4s4s")
_IPV6 = struct.Struct("!LHBB16s16s")
_UDP = struct.Struct("!HHHH")
_PSEUDO = struct.Struct("!LL")


def udp_datagram(source: bytes, source_port: int, to: bytes, to_port: int, payload: bytes) -> bytes:
    """UDP header and payload with the checksum of RFC 768; addresses packed, of the same family."""
    length = _UDP.size + len(payload)
    header = _UDP.pack(source_port, to_port, length, 0)
    pseudo = source + to + _PSEUDO.pack(length, socket.IPPROTO_UDP)
    padded = pseudo + header + payload + bytes(len(payload) & 1)
    # A number modulo 2¹⁶ - 1 is the one's complement sum of its digits to the base 2¹⁶. The sum is not 0,
    # so what comes out as 0 is 0xFFFF, whose complement 0 is sent as 0xFFFF: 0 would mean no checksum.
    checksum = 0xFFFF - int.from_bytes(padded, "big") % 0xFFFF
    return _UDP.pack(source_port, to_port, length, checksum) + payload


class RawSender:
    """Raw sockets of both families. Raises PermissionError without CAP_NET_RAW."""

    def __init__(self) -> None:
        self.traffic_class = 0
        """DSCP in the upper six bits."""
        self._ipv4 = _open(socket.AF_INET, socket.IPPROTO_IP, socket.IP_HDRINCL)
        self._ipv6 = _open(socket.AF_INET6, socket.IPPROTO_IPV6, IPV6_HDRINCL)

    def send(self, source: bytes, source_port: int, to: Endpoint, to_packed: bytes, payload: bytes) -> None:
        """Send one datagram. Raises OSError as a socket does."""
        body = udp_datagram(source, source_port, to_packed, to.port, payload)
        if len(source) == 4:
            # Length, id and checksum of the IPv4 header are the kernel's to fill in.
            header = _IPV4.pack(
                0x45, self.traffic_class, 0, 0, 0, HOP_LIMIT, socket.IPPROTO_UDP, 0, source, to_packed
            )
            self._ipv4.sendto(header + body, (to.host, 0))
            return
        first = 6 << 28 | self.traffic_class << 20
        header = _IPV6.pack(first, len(body), socket.IPPROTO_UDP, HOP_LIMIT, source, to_packed)
        self._ipv6.sendto(header + body, (to.host, 0))

    def close(self) -> None:
        """Close both sockets."""
        self._ipv4.close()
        self._ipv6.close()


def _open(family: socket.AddressFamily, level: int, header_included: int) -> socket.socket:
    # IPPROTO_RAW receives nothing.
    opened = socket.socket(family, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.IPPROTO_RAW)
    opened.setsockopt(level, header_included, 1)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
    return opened

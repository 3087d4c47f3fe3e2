"""A flow as the records that stand for it, and what is precomputed for each of its packets."""

from __future__ import annotations

import socket
import struct
from typing import NamedTuple

from core.addr import Endpoint
from ebpf.layout import FOLD_MULTIPLIER

U64_MASK = (1 << 64) - 1


class FlowRecord(NamedTuple):
    """What is written once, when a flow begins."""

    slot: int
    """Backbone index * 65536 + NAT port."""
    client: Endpoint
    vip_id: int
    vip: Endpoint
    backbone: str
    """Our address towards the transceiver, the one of that index."""
    transceiver: Endpoint
    nexthop_up: int
    nexthop_down: int

    @property
    def nat_port(self) -> int:
        """The port of the backbone address that stands for the flow."""
        return self.slot & 0xFFFF


def pack_address(host: str) -> bytes:
    """4 or 16 bytes in network order."""
    return socket.inet_pton(socket.AF_INET6 if ":" in host else socket.AF_INET, host)


def ufrag_mark(ufrag: bytes) -> int:
    """vp_ufrag_mark() of prog/token.h: 32 bits that tell a flow's own ufrag from another."""
    tail = int.from_bytes(ufrag[20:28], "little")
    return (tail * FOLD_MULTIPLIER & U64_MASK) >> 32


def checksum_delta(old: bytes, new: bytes) -> int:
    """What a one's complement sum changes by when `old` becomes `new` (RFC 1624), in the host's order.

    Both of the same even length. The opposite change is the complement.
    """
    total: int = sum(struct.unpack(f"={len(new) // 2}H", new))
    total += sum(word ^ 0xFFFF for word in struct.unpack(f"={len(old) // 2}H", old))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def upstream_deltas(flow: FlowRecord) -> tuple[int, int]:
    """(of the IPv4 header checksum, of the UDP checksum) for a packet that goes upstream."""
    old = pack_address(flow.client.host) + pack_address(flow.vip.host)
    new = pack_address(flow.backbone) + pack_address(flow.transceiver.host)
    ports = struct.Struct("!HH")
    old_ports = ports.pack(flow.client.port, flow.vip.port)
    new_ports = ports.pack(flow.nat_port, flow.transceiver.port)
    return checksum_delta(old, new), checksum_delta(old + old_ports, new + new_ports)

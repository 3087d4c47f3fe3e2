"""A flow as userspace knows it."""

from __future__ import annotations

import socket
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
    transceiver: Endpoint
    transceiver_number: int
    """By which the upstream record names it."""
    nexthop_down: int


def pack_address(host: str) -> bytes:
    """4 or 16 bytes in network order."""
    return socket.inet_pton(socket.AF_INET6 if ":" in host else socket.AF_INET, host)


def ufrag_mark(ufrag: bytes) -> int:
    """vp_ufrag_mark() of prog/token.h: 32 bits that tell a flow's own ufrag from another."""
    tail = int.from_bytes(ufrag[20:28], "little")
    return (tail * FOLD_MULTIPLIER & U64_MASK) >> 32

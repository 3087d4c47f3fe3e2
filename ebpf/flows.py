"""A flow as userspace knows it."""

from __future__ import annotations

from typing import NamedTuple

from core.addr import Endpoint
from ebpf.ids import NatSlot, NextHopId, TransceiverId, VipId
from ebpf.layout import FOLD_MULTIPLIER

U64_MASK = (1 << 64) - 1


class FlowRecord(NamedTuple):
    """What is written once, when a flow begins."""

    slot: NatSlot
    client: Endpoint
    vip_id: VipId
    transceiver: Endpoint
    transceiver_id: TransceiverId
    """By which the upstream record names it."""
    nexthop_down: NextHopId


def ufrag_mark(ufrag: bytes) -> int:
    """vp_ufrag_mark() of prog/token.h: 32 bits that tell a flow's own ufrag from another."""
    tail = int.from_bytes(ufrag[20:28], "little")
    return (tail * FOLD_MULTIPLIER & U64_MASK) >> 32

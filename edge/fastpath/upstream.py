"""What the relay itself sends for flows of the fast path, from their NAT ports, once next hops are known."""

from __future__ import annotations

import asyncio

from core.addr import pack_address
from edge.fastpath.flow import XdpFlow
from edge.fastpath.flow_nexthops import FlowNextHops
from edge.fastpath.flow_store import FlowStore
from edge.fastpath.pending_packets import PendingPackets
from edge.fastpath.raw_send import RawSender
from edge.forwarders.tally import UP, count_up_failed
from edge.relay.counters import Counters, SendError, classify_error

_UP_PACKETS, _UP_BYTES = UP


class Upstream:
    """Sends, holds back and counts. Raises PermissionError without CAP_NET_RAW."""

    def __init__(self, store: FlowStore, hops: FlowNextHops, counters: Counters) -> None:
        self._sender = RawSender()
        self._families = store.families
        self._hops = hops
        self._counters = counters
        self._values = counters.values
        self._pending = PendingPackets(self._need_not_wait, self._send, self._drop)

    def set_dscp(self, dscp: int | None) -> None:
        """The DSCP of what is sent from here, which is what the program gives to what follows."""
        self._sender.traffic_class = (dscp or 0) << 2

    def forward(self, flow: XdpFlow, datagram: memoryview, now_ns: int) -> bool:
        """Send as the program would have done; False when it was not sent, or is to wait."""
        return not self._pending.take(flow, datagram, now_ns) and self._send(flow, datagram.tobytes())

    def copy(self, flow: XdpFlow, datagram: memoryview) -> bool:
        """Send at once, and count nothing."""
        backbone, port = self._families[flow.family].nat_address(flow.slot)
        to = flow.transceiver
        try:
            self._sender.send(backbone, port, to, pack_address(to.host), datagram.tobytes())
        except OSError:
            return False
        return True

    def open(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to hold packets back."""
        self._pending.open(loop)

    def close(self) -> None:
        """Drop what is held back, and count it; close the sockets."""
        self._pending.close()
        self._sender.close()

    def _need_not_wait(self, flow: XdpFlow) -> bool:
        """Whether the program can send in both directions, or the slot is no longer this flow's."""
        if not self._families[flow.family].is_live(flow.slot):
            return True
        return self._hops.has_usable_nexthops(flow.family, flow.slot)

    def _send(self, flow: XdpFlow, datagram: bytes) -> bool:
        values, size = self._values, len(datagram)
        backbone, port = self._families[flow.family].nat_address(flow.slot)
        to = flow.transceiver
        try:
            self._sender.send(backbone, port, to, pack_address(to.host), datagram)
        except OSError as error:
            count_up_failed(self._counters, classify_error(error), size)
            return False
        values[_UP_PACKETS] += 1
        values[_UP_BYTES] += size
        return True

    def _drop(self, datagram: bytes) -> None:
        count_up_failed(self._counters, SendError.UNRESOLVED, len(datagram))

"""Where a flow's first packets wait until the program knows the MAC addresses of both of its next hops.

The relay itself could send them, since the kernel asks for what it does not know. But the answer would
come back within a round trip, and the program, which asks nobody, would drop it, and the client's DTLS
flight after it: a pause of some milliseconds here saves one of 100 there. It is rare: routers are known
from the start, so it takes a host on one of our own links that was not spoken with before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from core.addr import IpFamily
from ebpf.ids import NatSlot
from edge.fastpath.flow import XdpFlow

LOOK_S = 0.002
PATIENCE_NS = 500_000_000
"""After that the packets go all the same; a host that has not answered by now may not be there."""
MAX_FLOWS = 256
MAX_PACKETS = 4
"""Of a flow; the rest is sent without waiting."""

NeedNotWait = Callable[[XdpFlow], bool]
Send = Callable[[XdpFlow, bytes], bool]
Drop = Callable[[bytes], None]


class PendingPackets:
    """Holds packets of flows without usable next hops, a bounded number for a bounded time.

    Each ends by `send` or, where the relay ends first, by `drop`.
    """

    def __init__(self, need_not_wait: NeedNotWait, send: Send, drop: Drop) -> None:
        self._need_not_wait = need_not_wait
        self._send = send
        self._drop = drop
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._waiting: dict[tuple[IpFamily, NatSlot], tuple[XdpFlow, int, list[bytes]]] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def open(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to hold packets; until then `take` refuses all."""
        self._loop = loop

    def take(self, flow: XdpFlow, datagram: memoryview, now_ns: int) -> bool:
        """Keep a packet for later; False when it should be sent at once."""
        if self._loop is None or self._need_not_wait(flow):
            return False
        place = flow.family, flow.slot
        if place not in self._waiting:
            if len(self._waiting) >= MAX_FLOWS:
                return False
            self._waiting[place] = flow, now_ns + PATIENCE_NS, []
        packets = self._waiting[place][2]
        if len(packets) >= MAX_PACKETS:
            return False
        packets.append(datagram.tobytes())
        if self._timer is None:
            self._timer = self._loop.call_later(LOOK_S, self._tick)
        return True

    def _tick(self) -> None:
        assert self._loop is not None
        self.look(int(self._loop.time() * 1e9))
        self._timer = self._loop.call_later(LOOK_S, self._tick) if self._waiting else None

    def look(self, now_ns: int) -> None:
        """Send on what need not wait any longer."""
        for place, (flow, deadline_ns, packets) in list(self._waiting.items()):
            if now_ns >= deadline_ns or self._need_not_wait(flow):
                del self._waiting[place]
                for packet in packets:
                    self._send(flow, packet)

    def close(self) -> None:
        """Drop what waits: the clients send it again."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._loop = None
        for _, _, packets in self._waiting.values():
            for packet in packets:
                self._drop(packet)
        self._waiting.clear()

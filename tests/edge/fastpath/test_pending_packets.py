from __future__ import annotations

import asyncio

from core.addr import Endpoint, IpFamily
from ebpf.ids import NatSlot
from edge.fastpath.flow import XdpFlow
from edge.fastpath.pending_packets import MAX_FLOWS, MAX_PACKETS, PATIENCE_NS, PendingPackets
from edge.relay.forwarder import VipIndex

PATIENCE_S = 20.0


def flow(slot: int) -> XdpFlow:
    return XdpFlow(
        ("192.0.2.1", 1000),
        VipIndex(0),
        IpFamily.V4,
        NatSlot(slot),
        0,
        Endpoint("10.0.0.1", 4000),
        0,
        0,
        is_confirmed=True,
    )


class Scene:
    """Flows have usable next hops once their slot is among `usable`."""

    def __init__(self) -> None:
        self.usable: set[int] = set()
        self.sent: list[tuple[int, bytes]] = []
        self.dropped: list[bytes] = []
        self.pending = PendingPackets(lambda flow: flow.slot in self.usable, self._send, self.dropped.append)
        self.something_sent = asyncio.Event()

    def _send(self, flow: XdpFlow, datagram: bytes) -> bool:
        self.sent.append((flow.slot, datagram))
        self.something_sent.set()
        return True

    def take(self, slot: int, datagram: bytes, now_ns: int = 0) -> bool:
        return self.pending.take(flow(slot), memoryview(bytearray(datagram)), now_ns)


def test_nothing_is_held_before_there_is_a_loop_to_send_it_on() -> None:
    assert not Scene().take(1, b"check")


def test_a_packet_of_a_flow_with_next_hops_does_not_wait() -> None:
    async def run() -> None:
        scene = Scene()
        scene.pending.open(asyncio.get_running_loop())
        scene.usable = {1}
        assert not scene.take(1, b"check")
        assert len(scene.pending) == 0

    asyncio.run(run())


def test_packets_wait_in_order_until_their_flow_has_next_hops() -> None:
    async def run() -> None:
        scene = Scene()
        scene.pending.open(asyncio.get_running_loop())
        now_ns = int(asyncio.get_running_loop().time() * 1e9)
        # Long before the time is over, so that only next hops let them go.
        assert scene.take(1, b"check", now_ns + int(PATIENCE_S * 1e9))
        assert scene.take(1, b"hello", now_ns)
        assert scene.take(2, b"other", now_ns + int(PATIENCE_S * 1e9))
        assert scene.sent == []
        scene.usable = {1}
        await asyncio.wait_for(scene.something_sent.wait(), PATIENCE_S)
        assert scene.sent == [(1, b"check"), (1, b"hello")]
        assert len(scene.pending) == 1
        assert scene.dropped == []
        scene.pending.close()
        assert len(scene.pending) == 0
        assert scene.dropped == [b"other"], "each is either sent or dropped"

    asyncio.run(run())


def test_a_packet_goes_all_the_same_when_its_time_is_over() -> None:
    async def run() -> None:
        scene = Scene()
        scene.pending.open(asyncio.get_running_loop())
        assert scene.take(1, b"check", 1_000)
        scene.pending.look(999 + PATIENCE_NS)
        assert scene.sent == []
        scene.pending.look(1_000 + PATIENCE_NS)
        assert scene.sent == [(1, b"check")]
        scene.pending.close()

    asyncio.run(run())


def test_it_is_bounded_and_what_finds_it_full_is_sent_at_once() -> None:
    async def run() -> None:
        scene = Scene()
        scene.pending.open(asyncio.get_running_loop())
        for slot in range(MAX_FLOWS):
            assert scene.take(slot, b"check")
        assert not scene.take(MAX_FLOWS, b"check")
        for _ in range(MAX_PACKETS - 1):
            assert scene.take(0, b"more")
        assert not scene.take(0, b"more")
        scene.pending.close()

    asyncio.run(run())

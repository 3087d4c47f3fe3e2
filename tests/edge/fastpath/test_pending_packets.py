from __future__ import annotations

import asyncio

from core.addr import Endpoint
from edge.fastpath.flow import XdpFlow
from edge.fastpath.pending_packets import MAX_FLOWS, MAX_PACKETS, PATIENCE_NS, PendingPackets

PATIENCE_S = 20.0


def flow(slot: int) -> XdpFlow:
    return XdpFlow(("192.0.2.1", 1000), 0, 4, slot, 0, Endpoint("10.0.0.1", 4000), 0)


class Scene:
    """A room whose flows are led once their slot is among `led`."""

    def __init__(self) -> None:
        self.led: set[int] = set()
        self.sent: list[tuple[int, bytes]] = []
        self.room = PendingPackets(lambda flow: flow.slot in self.led, self._send)
        self.something_sent = asyncio.Event()

    def _send(self, flow: XdpFlow, datagram: bytes) -> bool:
        self.sent.append((flow.slot, datagram))
        self.something_sent.set()
        return True

    def take(self, slot: int, datagram: bytes, now_ns: int = 0) -> bool:
        return self.room.take(flow(slot), memoryview(bytearray(datagram)), now_ns)


def test_nothing_is_held_before_there_is_a_loop_to_send_it_on() -> None:
    assert not Scene().take(1, b"check")


def test_a_packet_of_a_flow_that_is_led_does_not_wait() -> None:
    async def run() -> None:
        scene = Scene()
        scene.room.open(asyncio.get_running_loop())
        scene.led = {1}
        assert not scene.take(1, b"check")
        assert len(scene.room) == 0

    asyncio.run(run())


def test_packets_wait_in_order_until_their_flow_is_led() -> None:
    async def run() -> None:
        scene = Scene()
        scene.room.open(asyncio.get_running_loop())
        now_ns = int(asyncio.get_running_loop().time() * 1e9)
        # Long before the time is over, so that only being led lets them go.
        assert scene.take(1, b"check", now_ns + int(PATIENCE_S * 1e9))
        assert scene.take(1, b"hello", now_ns)
        assert scene.take(2, b"other", now_ns + int(PATIENCE_S * 1e9))
        assert scene.sent == []
        scene.led = {1}
        await asyncio.wait_for(scene.something_sent.wait(), PATIENCE_S)
        assert scene.sent == [(1, b"check"), (1, b"hello")]
        assert len(scene.room) == 1
        scene.room.close()
        assert len(scene.room) == 0

    asyncio.run(run())


def test_a_packet_goes_all_the_same_when_its_time_is_over() -> None:
    async def run() -> None:
        scene = Scene()
        scene.room.open(asyncio.get_running_loop())
        assert scene.take(1, b"check", 1_000)
        scene.room.look(999 + PATIENCE_NS)
        assert scene.sent == []
        scene.room.look(1_000 + PATIENCE_NS)
        assert scene.sent == [(1, b"check")]
        scene.room.close()

    asyncio.run(run())


def test_the_room_is_bounded_and_what_finds_it_full_is_sent_at_once() -> None:
    async def run() -> None:
        scene = Scene()
        scene.room.open(asyncio.get_running_loop())
        for slot in range(MAX_FLOWS):
            assert scene.take(slot, b"check")
        assert not scene.take(MAX_FLOWS, b"check")
        for _ in range(MAX_PACKETS - 1):
            assert scene.take(0, b"more")
        assert not scene.take(0, b"more")
        scene.room.close()

    asyncio.run(run())

"""What the relay sends for flows by itself."""

from __future__ import annotations

import asyncio

import pytest

from ebpf.ids import EgressId
from ebpf.tables import Adjacency
from edge.nexthops.messages import ON_LINK, hosts_messages
from edge.relay.counters import Direction
from tests.edge.fastpath.rig import (
    HOST_UP,
    ROUTE_UP,
    V4,
    V6,
    Rig,
    installed,
)
from tests.edge.kit import PATIENCE_S, eventually
from tests.edge.nexthops.kit import one_view


@pytest.mark.parametrize("answers", [True, False], ids=["the neighbour answers", "the relay ends"])
def test_what_waits_for_a_neighbour_is_counted_when_it_is_sent_or_dropped(rig: Rig, answers: bool) -> None:
    """Once, like every datagram."""

    async def run() -> list[int]:
        rig.forwarder.attach(asyncio.get_running_loop())
        flow = installed(rig.install(1))
        check = memoryview(bytes(100))
        assert [rig.forwarder.forward(flow, check, rig.now_ns) for _ in range(2)] == [False, False]
        assert rig.outcomes() == [0, 0, 0]
        if answers:
            rig.tables.set_nexthop(HOST_UP, Adjacency(bytes(6), bytes(6), 1500, EgressId(0)))
            for message in hosts_messages({"127.0.0.1": HOST_UP, "203.0.113.2": HOST_UP}):
                rig.forwarder.hops.learn_hosts(message, rig.now_ns)
            await asyncio.to_thread(eventually, lambda: rig.outcomes() != [0, 0, 0], "it is sent")
        rig.forwarder.close()
        return rig.outcomes()

    rig.forwarder.hops.learn_routes(one_view({V4: [(0, ON_LINK)], V6: [(0, ROUTE_UP)]}), rig.now_ns)
    try:
        outcomes = asyncio.run(asyncio.wait_for(run(), PATIENCE_S))
        assert outcomes == ([2, 0, 0] if answers else [0, 2, 2])
        outcome = "forwarded" if answers else "failed"
        assert rig.counters.get("bytes", Direction.UPSTREAM, outcome) == 200
    finally:
        rig.open()

"""Next hops of flows, of routes and of hosts on a link, over real maps."""

from __future__ import annotations

from ebpf.ids import NOWHERE, NextHopId
from edge.nexthops.messages import ON_LINK, hosts_messages
from edge.relay.verdict import RelayReason
from tests.edge.fastpath.rig import (
    HOST_DOWN,
    HOST_UP,
    OTHER_HOST_DOWN,
    ROUTE_UP,
    V4,
    V6,
    Rig,
    installed,
)
from tests.edge.nexthops.kit import one_view


def test_without_a_route_there_is_no_flow(rig: Rig) -> None:
    rig.forwarder.hops.learn_routes(one_view({V4: [(0, NOWHERE)], V6: [(0, NOWHERE)]}), rig.now_ns)
    assert rig.install(1) is RelayReason.UNREACHABLE


def test_hosts_on_a_link_are_asked_for_once_and_filled_in(rig: Rig) -> None:
    rig.forwarder.hops.learn_routes(one_view({V4: [(0, ON_LINK)], V6: [(0, ROUTE_UP)]}), rig.now_ns)
    flows = [installed(rig.install(number)) for number in (1, 2)]
    assert rig.asked == ["127.0.0.1", "203.0.113.2", "203.0.113.3"]
    assert rig.hops(V4, flows[0].slot) == [0, 0]
    known = {"127.0.0.1": HOST_UP, "203.0.113.2": HOST_DOWN, "203.0.113.3": OTHER_HOST_DOWN}
    for message in hosts_messages(known):
        rig.forwarder.hops.learn_hosts(message, rig.now_ns)
    assert [rig.hops(V4, flow.slot) for flow in flows] == [[HOST_UP, HOST_DOWN], [HOST_UP, OTHER_HOST_DOWN]]
    installed(rig.install(1, session=1))
    assert len(rig.asked) == 3


def test_a_transceiver_that_was_out_of_reach_is_led_to_when_its_next_flow_begins(rig: Rig) -> None:
    """Nobody waits for it any more by the time when its next hop is known."""
    rig.forwarder.hops.learn_routes(one_view({V4: [(0, ON_LINK)], V6: [(0, ROUTE_UP)]}), rig.now_ns)
    flow = installed(rig.install(1))
    known = {"127.0.0.1": NOWHERE, "203.0.113.2": HOST_DOWN, "203.0.113.3": OTHER_HOST_DOWN}
    for message in hosts_messages(known):
        rig.forwarder.hops.learn_hosts(message, rig.now_ns)
    assert rig.install(2) is RelayReason.UNREACHABLE
    for message in hosts_messages({"127.0.0.1": HOST_UP}):
        rig.forwarder.hops.learn_hosts(message, rig.now_ns)
    installed(rig.install(2))
    assert rig.hops(V4, flow.slot) == [HOST_UP, HOST_DOWN]


def test_new_routes_lead_live_flows(rig: Rig) -> None:
    flows = [installed(rig.install(1)), installed(rig.install(1, vip=1))]
    routes = one_view({V4: [(0, NextHopId(21))], V6: [(0, NextHopId(22))]})
    rig.forwarder.hops.learn_routes(routes, rig.now_ns)
    assert [rig.hops(flow.family, flow.slot) for flow in flows] == [[21, 21], [22, 22]]

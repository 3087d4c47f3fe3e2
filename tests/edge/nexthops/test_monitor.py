"""What changes in the network around a PoP, and what becomes of live flows."""

from __future__ import annotations

import os
from functools import partial

import pytest

from core.addr import IpFamily
from ebpf.layout import UPSTREAM
from ebpf.net.netns import Wiring
from tests.edge.kit import MEDIA, eventually, request
from tests.edge.xdp_scene import GATEWAYS, Call, Pop, arrives_up, verdict

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes network namespaces"),
]


def test_a_neighbour_that_gets_another_mac_is_followed(pop: Pop) -> None:
    calls = [Call(pop, 0).begin(), Call(pop, 1).begin()]
    pop.scene.ip(pop.scene.region, "link", "set", "r0", "address", "02:00:00:00:77:01")
    for address in GATEWAYS:
        pop.scene.ip(pop.scene.pop, "neigh", "replace", address, "lladdr", "02:00:00:00:77:01", "dev", "bb")
    for call in calls:
        eventually(partial(arrives_up, call), "packets go to the new MAC")
        call.exchange(5)


def test_a_route_that_changes_takes_live_flows_along(pop: Pop) -> None:
    """A more specific route to another router appears, and goes again."""
    call = Call(pop).begin()
    scene = pop.scene
    scene.ip(scene.region, "address", "add", "192.0.2.3/24", "dev", "r0")
    scene.ip(scene.region, "link", "add", "r1", "type", "veth", "peer", "name", "bb1", "netns", scene.pop)
    with Wiring(scene.region) as region, Wiring(scene.pop) as other:
        region.address("r1", "192.0.3.2/24")
        region.up("r1")
        region.prepare_for_xdp("r1")
        other.address("bb1", "192.0.3.10/24")
        other.up("bb1")
    scene.ip(scene.pop, "route", "add", "10.20.0.1/32", "via", "192.0.3.2")
    pop.wait_for_log("leaves by bb1, which is not among dataplane.interfaces")
    before = verdict(pop, "drop_no_nexthop")
    call.client.send(MEDIA, call.vip)
    eventually(lambda: verdict(pop, "drop_no_nexthop") > before, "it is dropped and counted")
    scene.ip(scene.pop, "route", "del", "10.20.0.1/32", "via", "192.0.3.2")
    eventually(lambda: arrives_up(call), "packets go to the old router again")
    scene.ip(scene.pop, "route", "add", "10.20.0.1/32", "via", "192.0.2.3")
    eventually(lambda: len(_upstream_hops(pop)) == 1 and verdict(pop, "forward_upstream"), "it settles")
    call.exchange(5)


def _upstream_hops(pop: Pop) -> set[int]:
    tables = pop.scene.tables()
    hops = set(tables.nexthops(IpFamily.V4, tables.live(IpFamily.V4))[UPSTREAM].tolist())
    tables.close()
    return hops


def test_a_link_that_is_down_drops_with_a_reason_and_recovers(pop: Pop) -> None:
    call = Call(pop).begin()
    pop.scene.ip(pop.scene.pop, "link", "set", "bb", "down")

    def is_dropped() -> bool:
        call.client.send(MEDIA, call.vip)
        return verdict(pop, "drop_no_nexthop") > 0

    eventually(is_dropped, "it is dropped")

    def is_refused() -> bool:
        other = Call(pop)
        other.client.send(request(other.ufrag), other.vip)
        return pop.samples()["relay_flow_installs_total", "unreachable"] > 0

    eventually(is_refused, "without a route there is no new flow")
    pop.scene.ip(pop.scene.pop, "link", "set", "bb", "up")
    pop.scene.ip(pop.scene.pop, "route", "add", "10.20.0.0/16", "via", GATEWAYS[0])
    eventually(lambda: arrives_up(call), "packets arrive again")
    call.exchange(5)


def test_a_frame_over_the_mtu_of_its_way_out_is_dropped(pop: Pop) -> None:
    call = Call(pop).begin()
    pop.scene.ip(pop.scene.pop, "link", "set", "bb", "mtu", "1000")

    def is_dropped() -> bool:
        call.client.send(bytes([0x80]) + bytes(1200), call.vip)
        return verdict(pop, "drop_too_big") > 0

    eventually(is_dropped, "it is dropped, and counted")
    while not call.transceiver.is_silent():
        call.transceiver.receive()  # those that were before the change
    call.exchange()


def test_a_client_without_an_arp_entry_is_resolved(pop: Pop) -> None:
    """Nothing but the program has a packet for a client on our link, so the kernel would never ask."""
    call = Call(pop).begin()
    pop.scene.ip(pop.scene.pop, "neigh", "flush", "dev", "pub")
    call.exchange(5)

"""Interfaces that come and go while a relay runs."""

from __future__ import annotations

import os

import pytest

from ebpf.net.netns import Wiring
from tests.edge.kit import MEDIA, eventually
from tests.edge.xdp_scene import GATEWAYS, Call, Pop, arrives_up, verdict

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes network namespaces"),
]


def test_an_interface_that_goes_away_and_comes_back_has_the_fast_path_again(pop: Pop) -> None:
    call = Call(pop).begin()
    scene = pop.scene
    scene.ip(scene.pop, "link", "del", "bb")
    pop.wait_for_log("bb is gone")
    before = verdict(pop, "forward_upstream")
    call.client.send(MEDIA, call.vip)
    eventually(lambda: verdict(pop, "drop_no_nexthop") + verdict(pop, "drop_no_egress"), "it is dropped")
    assert verdict(pop, "forward_upstream") == before
    with Wiring(scene.pop) as wiring, Wiring(scene.region) as region:
        wiring.veth("bb", "r0", scene.region)
        for address in ("192.0.2.10/24", "2001:db8:b::10/64"):
            wiring.address("bb", address)
        for address in ("192.0.2.2/24", "2001:db8:b::2/64", "10.20.0.1/32", "2001:db8:20::1/128"):
            region.address("r0", address)
        region.up("r0")
        region.prepare_for_xdp("r0")
        wiring.up("bb")
        wiring.route("10.20.0.0/16", GATEWAYS[0])
    pop.wait_for_log("bb came back and has the fast path again, in native mode")
    eventually(lambda: arrives_up(call), "the same flow is carried again")
    call.exchange(5)
    assert pop.summary()["interfaces"] == {"pub": "native", "bb": "native"}

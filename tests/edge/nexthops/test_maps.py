"""Next hops read out of real maps."""

from __future__ import annotations

from core.addr import Endpoint
from ebpf.ids import EgressId, NextHopId, TransceiverId
from ebpf.tables import Adjacency
from edge.nexthops.maps import nexthops_in_use, write_defaults, written_adjacencies
from tests.edge.fastpath.rig import ROUTE_DOWN, ROUTE_UP, V4, V6, Rig, installed

PLAIN = Adjacency(bytes.fromhex("020000000001"), bytes.fromhex("020000000002"), 1500, EgressId(3))
TAGGED = PLAIN._replace(mtu=9000, tags=((0x88A8, 7), (0x8100, 200)))


def test_what_was_written_is_read_as_it_was(rig: Rig) -> None:
    for number in written_adjacencies(rig.tables):
        rig.tables.set_nexthop(number, None)
    rig.tables.set_nexthop(NextHopId(21), PLAIN)
    rig.tables.set_nexthop(NextHopId(22), TAGGED)
    assert written_adjacencies(rig.tables) == {21: PLAIN, 22: TAGGED}
    rig.tables.set_nexthop(NextHopId(21), TAGGED)
    rig.tables.set_nexthop(NextHopId(22), None)
    assert written_adjacencies(rig.tables) == {21: TAGGED}, "of the two halves, the one that is live"


def test_those_in_use_are_of_flows_and_of_transceivers_that_may_have_one(rig: Rig) -> None:
    assert nexthops_in_use(rig.tables) == {0}, "of transceivers that are none"
    flow = installed(rig.install(1))
    assert nexthops_in_use(rig.tables) == {0, ROUTE_UP, ROUTE_DOWN}
    rig.remove(flow)
    assert nexthops_in_use(rig.tables) == {0, ROUTE_UP}, "the transceiver's next flow will have it"
    rig.tables.set_transceiver(TransceiverId(9), Endpoint("2001:db8::9", 1), NextHopId(23))
    assert nexthops_in_use(rig.tables) == {0, ROUTE_UP, 23}


def test_defaults_are_what_most_flows_have(rig: Rig) -> None:
    flows = [installed(rig.install(number)) for number in range(3)]
    write_defaults(rig.tables)
    assert rig.tables.config["default_nexthop"].tolist() == [[ROUTE_UP, ROUTE_DOWN], [0, 0]]
    down = rig.tables.records[V4][1]["common"]["nexthop"]
    down[[flow.slot for flow in flows[:2]]] = 24
    installed(rig.install(1, vip=1))
    write_defaults(rig.tables)
    six = [int(hops[0]) for hops in rig.tables.nexthops(V6, rig.tables.live(V6))]
    assert rig.tables.config["default_nexthop"].tolist() == [[ROUTE_UP, 24], six]

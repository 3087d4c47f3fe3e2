"""Next hops as a function of what the kernel knows."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from ipaddress import ip_network

import pytest

from core.addr import IpFamily
from ebpf.ids import NOWHERE, EgressId, NextHopId
from ebpf.net.messages import Link, Neighbour
from ebpf.net.routes import Route, RouteLeg
from ebpf.net.snapshot import Network
from ebpf.tables import Adjacency
from edge.nexthops.messages import ON_LINK
from edge.nexthops.table import HOLD_S, SCARCE, Changes, NextHops

ROUTER, OTHER_ROUTER = "192.0.2.1", "192.0.2.2"
OWN, MAC, OTHER_MAC = bytes.fromhex("020000000001"), b"router", b"other!"
EGRESS = EgressId(5)
ONE, TWO, FORTY = NextHopId(1), NextHopId(2), NextHopId(40)


def link(number: int = 2, name: str = "eth0", **changes: object) -> Link:
    usual = Link(number, name, OWN, 1500, True, True, "", None, None, None)
    return usual._replace(**changes)  # type: ignore[arg-type]


def network(
    *, gateway: str = ROUTER, mac: bytes | None = MAC, failed: bool = False, via: int = 2,
    links: tuple[Link, ...] = (link(),), known: bool = True, static: bool = False,
    unconfirmed_s: float = 0.0,
) -> Network:  # fmt: skip
    routes = (
        Route(ip_network("0.0.0.0/0"), 0, (RouteLeg(via, gateway, True),)),
        Route(ip_network("192.0.2.0/24"), 0, (RouteLeg(via, None, True),)),
    )
    entry = Neighbour(via, gateway, mac, failed, static, unconfirmed_s)
    return Network({each.number: each for each in links}, routes, {(via, gateway): entry} if known else {})


class Hops:
    """The thing itself, with what it wrote."""

    def __init__(
        self, written: Mapping[NextHopId, Adjacency] | None = None, in_use: Collection[NextHopId] = ()
    ) -> None:
        self.adjacencies: dict[NextHopId, Adjacency | None] = dict(written or {})
        self.in_use = in_use
        self.hops = NextHops(
            written or {}, lambda at: EGRESS if at.name == "eth0" else None, lambda: self.in_use
        )

    def look(self, seen: Network, now_s: float = 0.0) -> Changes:
        changes = self.hops.look(seen, now_s)
        self.adjacencies.update(changes.adjacencies)
        return changes

    @property
    def router(self) -> NextHopId:
        return self.hops.tables.views[IpFamily.V4][0][0][1]


WAY = Adjacency(MAC, OWN, 1500, EGRESS)


def test_a_router_gets_a_next_hop_and_its_link_does_not() -> None:
    hops = Hops()
    changes = hops.look(network())
    assert hops.adjacencies == {hops.router: WAY}
    assert [target for _, target in hops.hops.tables.views[IpFamily.V4][0]] == [
        hops.router,
        ON_LINK,
        hops.router,
    ]
    assert not changes.resolve
    assert hops.look(network()).adjacencies == {}, "nothing new, nothing written"


def test_a_router_that_is_not_known_yet_is_asked_for() -> None:
    hops = Hops()
    assert hops.look(network(known=False)).resolve == [(2, ROUTER)]
    assert hops.adjacencies[hops.router] is None
    hops.look(network())
    assert hops.adjacencies[hops.router] == WAY


def test_a_new_mac_is_written_under_the_same_id() -> None:
    hops = Hops()
    hops.look(network())
    before = hops.router
    hops.look(network(mac=OTHER_MAC))
    assert (hops.router, hops.adjacencies[before]) == (before, WAY._replace(neighbour_mac=OTHER_MAC))


def test_a_forgotten_neighbour_is_used_on_and_asked_for_and_a_failed_one_is_not() -> None:
    hops = Hops()
    hops.look(network())
    assert hops.look(network(known=False)).resolve == [(2, ROUTER)]
    assert hops.adjacencies[hops.router] == WAY
    failed = network(mac=None, failed=True)
    assert hops.look(failed, HOLD_S - 1).resolve == [(2, ROUTER)]
    assert hops.adjacencies[hops.router] == WAY, "it was good a moment ago"
    assert hops.look(failed, HOLD_S).resolve == [(2, ROUTER)]
    assert hops.adjacencies[hops.router] is None
    hops.look(network(), HOLD_S + 1)
    assert hops.adjacencies[hops.router] == WAY


def test_a_neighbour_that_the_kernel_never_asks_for_is_given_up_when_it_has_been_silent() -> None:
    """The kernel keeps it as stale, since it has no packet for it; nobody answers us either."""
    hops = Hops()
    for now_s in range(0, int(HOLD_S), 5):
        assert not hops.look(network(unconfirmed_s=60.0 + now_s), now_s).resolve
        assert hops.adjacencies[hops.router] == WAY
    assert hops.look(network(unconfirmed_s=60 + HOLD_S), HOLD_S).resolve == [(2, ROUTER)]
    assert hops.adjacencies[hops.router] is None
    assert not hops.look(network(unconfirmed_s=0.5), HOLD_S + 1).resolve
    assert hops.adjacencies[hops.router] == WAY


def test_a_static_neighbour_is_believed_for_ever() -> None:
    hops = Hops()
    for now_s in (0.0, HOLD_S, 100 * HOLD_S):
        assert not hops.look(network(static=True, unconfirmed_s=60.0 + now_s), now_s).resolve
        assert hops.adjacencies[hops.router] == WAY


def test_a_link_that_is_down_has_no_way() -> None:
    hops = Hops()
    hops.look(network())
    hops.look(network(known=False, links=(link(is_up=False),)))
    assert hops.adjacencies[hops.router] is None


@pytest.mark.parametrize("depth", [1, 2])
def test_a_vlan_is_a_tag_on_the_interface_below(depth: int) -> None:
    inner = link(9, "eth0.20", kind="vlan", vlan=(0x8100, 20), parent=2, mtu=1400, mac=b"vlan20")
    outer = link(9, "eth0.7.20", kind="vlan", vlan=(0x8100, 20), parent=8, mtu=1400, mac=b"vlan20")
    middle = link(8, "eth0.7", kind="vlan", vlan=(0x88A8, 7), parent=2)
    hops = Hops()
    links = (link(), inner) if depth == 1 else (link(), middle, outer)
    hops.look(network(via=9, links=links))
    tags = ((0x8100, 20),) if depth == 1 else ((0x88A8, 7), (0x8100, 20))
    assert hops.adjacencies[hops.router] == Adjacency(MAC, b"vlan20", 1400, EGRESS, tags)


def test_an_interface_without_the_fast_path_is_complained_of_once() -> None:
    hops = Hops()
    elsewhere = network(links=(link(name="eth7"),))
    (complaint,) = hops.look(elsewhere).complaints
    assert "leaves by eth7, which is not among dataplane.interfaces" in complaint
    assert not hops.look(elsewhere).complaints
    assert hops.adjacencies[hops.router] is None


def test_after_a_restart_a_hop_has_the_id_that_has_its_way() -> None:
    hops = Hops({ONE: WAY._replace(neighbour_mac=OTHER_MAC), FORTY: WAY}, in_use={ONE, FORTY})
    assert hops.look(network()).adjacencies == {}
    assert hops.router == FORTY


def test_after_a_restart_no_flow_is_led_elsewhere_by_an_id_that_means_something_new() -> None:
    old = {number: WAY._replace(neighbour_mac=bytes([number] * 6)) for number in (ONE, TWO)}
    hops = Hops(old, in_use={ONE, TWO})
    hops.look(network())
    assert hops.router not in old
    assert {n: hops.adjacencies[n] for n in old} == old


def test_an_id_without_flows_is_reused_only_with_its_new_way() -> None:
    stale = WAY._replace(neighbour_mac=OTHER_MAC)
    hops = Hops({ONE: stale})
    changes = hops.look(network(known=False))
    assert hops.router == ONE
    assert changes.adjacencies == {ONE: None}, "what it was before is not left behind"


def test_a_host_on_a_link_becomes_a_next_hop_when_asked_for() -> None:
    hops = Hops()
    hops.look(network())
    changes = hops.hops.add_hosts(["192.0.2.77", "192.0.2.77"])
    assert changes.resolve == [(2, "192.0.2.77")]
    (number,) = hops.hops.hosts.values()
    assert number not in (NOWHERE, hops.router)
    seen = network()
    seen.neighbours[2, "192.0.2.77"] = Neighbour(2, "192.0.2.77", OTHER_MAC, False)
    assert hops.look(seen).adjacencies == {number: WAY._replace(neighbour_mac=OTHER_MAC)}


def test_ids_run_out_loudly_and_those_without_flows_are_given_up() -> None:
    hops = Hops()
    hops.look(network())
    many = [f"192.0.2.{n % 200 + 20}" if n < 200 else f"10.{n >> 8}.{n & 255}.1" for n in range(5000)]
    (complaint,) = hops.hops.add_hosts(many).complaints
    assert "next hops are in use" in complaint
    assert len(hops.hops) == 4095
    kept = next(iter(hops.hops.hosts.items()))
    hops.in_use = {kept[1]}
    assert len(hops.hops.forget_hosts()) == 4093
    assert hops.hops.hosts == dict([kept])
    assert not hops.hops.forget_hosts()
    assert len(hops.hops) < SCARCE

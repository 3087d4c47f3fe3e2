"""Routes with several legs: which are told to workers, and by what numbers."""

from __future__ import annotations

from ipaddress import ip_network

from core.addr import IpFamily
from ebpf.ids import NOWHERE, EgressId, NextHopId, VipId
from ebpf.net.messages import Link, Neighbour
from ebpf.net.routes import Route, RouteLeg
from ebpf.net.snapshot import Network
from edge.nexthops.messages import MAX_SPREADS, RouteTables, SpreadLeg, spread_number
from edge.nexthops.table import HOLD_S, SILENT_S, Changes, NextHops
from edge.nexthops.unfollowed import UnfollowedKind
from edge.nexthops.views import Sources

V4, V6 = IpFamily.V4, IpFamily.V6
ONE, TWO = "192.0.2.1", "192.0.3.1"
MACS = {ONE: b"macone", TWO: b"mactwo"}
LINKS = {2: "up0", 3: "up1"}


def link(number: int, *, is_up: bool = True) -> Link:
    return Link(number, LINKS[number], b"ownmac", 1500, is_up, True, "", None, None, None)


def network(
    *,
    weights: tuple[int, int] = (1, 1),
    silent_s: tuple[float, float] = (0.0, 0.0),
    known: tuple[bool, bool] = (True, True),
    failed: tuple[bool, bool] = (False, False),
    is_up: tuple[bool, bool] = (True, True),
    routes: tuple[Route, ...] | None = None,
) -> Network:
    """Two uplinks, and a route by both."""
    legs = (RouteLeg(2, ONE, is_up[0], weights[0]), RouteLeg(3, TWO, is_up[1], weights[1]))
    neighbours = {
        (number, host): Neighbour(number, host, None if bad else MACS[host], bad, unconfirmed_s=silence)
        for number, host, is_known, bad, silence in zip(
            (2, 3), (ONE, TWO), known, failed, silent_s, strict=True
        )
        if is_known
    }
    links = {number: link(number, is_up=up) for number, up in zip((2, 3), is_up, strict=True)}
    both = Route(ip_network("0.0.0.0/0"), 0, legs)
    return Network(links, (both,) if routes is None else routes, neighbours)


class Uplinks:
    """The thing itself, at a time."""

    def __init__(self, sources: Sources | None = None) -> None:
        egresses = {name: EgressId(number) for number, name in LINKS.items()}
        self.hops = NextHops(
            {}, lambda at: egresses.get(at.name), set, *(() if sources is None else (sources,))
        )

    def look(self, seen: Network, now_s: float = 0.0) -> Changes:
        return self.hops.look(seen, now_s)

    @property
    def told(self) -> RouteTables:
        return self.hops.tables

    @property
    def legs(self) -> dict[NextHopId, int]:
        """Weights by next hop, of all that leads anywhere."""
        ((_, target),) = self.told.views[V4][0]
        if target >= 0:
            return {} if target == NOWHERE else {target: 1}
        assert target == spread_number(0)
        return {leg.nexthop: leg.weight for leg in self.told.spreads[0]}

    def number(self, host: str) -> NextHopId:
        return next(n for hop, n in self.hops._ids.items() if hop.host == host)


def test_each_leg_is_a_next_hop_of_its_own() -> None:
    uplinks = Uplinks()
    changes = uplinks.look(network(weights=(1, 3)))
    one, two = uplinks.number(ONE), uplinks.number(TWO)
    assert uplinks.legs == {one: 1, two: 3}
    macs = {n: adjacency.neighbour_mac for n, adjacency in changes.adjacencies.items() if adjacency}
    assert macs == {one: MACS[ONE], two: MACS[TWO]}
    assert uplinks.hops.leg_addresses() == [(2, ONE), (3, TWO)]
    assert uplinks.told == Uplinks_after(network(weights=(1, 3))).told, "the same after a restart"


def Uplinks_after(seen: Network) -> Uplinks:  # noqa: N802 - reads as what it makes
    made = Uplinks()
    made.look(seen)
    return made


def test_what_stands_for_a_leg_is_its_router_and_the_name_of_its_link() -> None:
    """A link that is made anew has another number."""
    before = Uplinks_after(network()).told.spreads[0]
    seen = network()
    renumbered = Network(
        {number + 10: each._replace(number=number + 10) for number, each in seen.links.items()},
        tuple(
            r._replace(legs=tuple(leg._replace(link=leg.link + 10) for leg in r.legs)) for r in seen.routes
        ),
        {(n + 10, host): each._replace(link=n + 10) for (n, host), each in seen.neighbours.items()},
    )
    after = Uplinks_after(renumbered).told.spreads[0]
    assert sorted(leg.seed for leg in after) == sorted(leg.seed for leg in before)
    assert len({leg.seed for leg in before}) == 2


def test_a_leg_whose_link_is_down_takes_no_flows() -> None:
    uplinks = Uplinks()
    uplinks.look(network())
    uplinks.look(network(is_up=(True, False)))
    assert uplinks.legs == {uplinks.number(ONE): 1}


def test_a_leg_whose_router_is_not_known_yet_takes_no_flows() -> None:
    uplinks = Uplinks()
    assert uplinks.look(network(known=(True, False))).resolve == [(3, TWO)]
    assert uplinks.legs == {uplinks.number(ONE): 1}
    uplinks.look(network())
    assert uplinks.legs == {uplinks.number(ONE): 1, uplinks.number(TWO): 1}


def test_with_no_router_known_flows_begin_and_wait() -> None:
    uplinks = Uplinks()
    uplinks.look(network(known=(False, False)))
    assert set(uplinks.legs) == {uplinks.number(ONE), uplinks.number(TWO)}


def test_a_router_that_has_fallen_silent_is_left_before_its_mac_is() -> None:
    """Without another leg its MAC would be used for HOLD_S."""
    uplinks = Uplinks()
    uplinks.look(network())
    later = SILENT_S - 1
    uplinks.look(network(silent_s=(0.0, later)), later)
    assert len(uplinks.legs) == 2
    uplinks.look(network(silent_s=(0.0, SILENT_S)), SILENT_S)
    assert uplinks.legs == {uplinks.number(ONE): 1}
    uplinks.look(network(silent_s=(0.0, 0.0)), SILENT_S + 1)
    assert len(uplinks.legs) == 2, "it answers again"
    uplinks.look(network(silent_s=(0.0, 0.1), failed=(False, True)), SILENT_S + 2)
    assert uplinks.legs == {uplinks.number(ONE): 1}, "the kernel has given it up"


def test_where_all_have_fallen_silent_all_are_used_on() -> None:
    uplinks = Uplinks()
    uplinks.look(network())
    silence = HOLD_S - 1
    uplinks.look(network(silent_s=(silence, silence)), silence)
    assert len(uplinks.legs) == 2


def test_too_many_sets_of_legs_leave_the_old_routes() -> None:
    uplinks = Uplinks()
    uplinks.look(network())
    before = uplinks.told
    many = tuple(
        Route(ip_network(f"10.{n}.0.0/16"), 0, (RouteLeg(2, ONE, True, n + 1), RouteLeg(3, TWO, True, 200)))
        for n in range(MAX_SPREADS + 1)
    )
    (complaint,) = uplinks.look(network(routes=many)).complaints
    assert "differ in their legs" in complaint
    assert uplinks.told == before
    assert not uplinks.look(network(routes=many[:-1])).complaints
    assert len(uplinks.told.spreads) == MAX_SPREADS


def test_what_is_not_followed_is_complained_of_once_and_listed() -> None:
    uplinks = Uplinks(Sources({VipId(1): "198.51.100.1"}, {}))
    wrapped = Route(ip_network("10.0.0.0/8"), 0, (RouteLeg(2, ONE, True, 1, is_plain=False),))
    seen = network(routes=(*network().routes, wrapped))
    (complaint,) = uplinks.look(seen).complaints
    assert "wraps packets up that leave by up0" in complaint
    assert [each.kind for each in uplinks.hops.unfollowed] == [UnfollowedKind.LEG]
    assert not uplinks.look(seen).complaints
    uplinks.look(network())
    assert not uplinks.hops.unfollowed


def test_the_legs_of_different_routes_are_told_once() -> None:
    both = network().routes[0]
    elsewhere = both._replace(prefix=ip_network("10.0.0.0/8"), legs=both.legs[::-1])
    uplinks = Uplinks_after(network(routes=(both, elsewhere)))
    assert uplinks.told.spreads == (tuple(sorted(uplinks.told.spreads[0], key=lambda leg: leg.nexthop)),)
    assert all(isinstance(leg, SpreadLeg) for leg in uplinks.told.spreads[0])

"""What a host's routing comes to for each of our addresses, and what of it is not followed."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from core.addr import IpFamily
from ebpf.ids import VipId
from ebpf.net.messages import Link
from ebpf.net.routes import Route, RouteLeg
from ebpf.net.rules import FR_ACT_TO_TBL, Rule
from ebpf.net.snapshot import Network
from edge.nexthops.fib import MAX_LEGS, Gateway
from edge.nexthops.unfollowed import Unfollowed, UnfollowedKind
from edge.nexthops.views import Sources, unfollowed, views_of

V4, V6 = IpFamily.V4, IpFamily.V6
VIPS = {VipId(3): "198.51.100.1", VipId(4): "198.51.100.2", VipId(5): "2001:db8:f::1"}
SOURCES = Sources(VIPS, {V4: ["192.0.2.10", "192.0.2.11"], V6: []})
ONE, TWO = Gateway(2, "192.0.2.1"), Gateway(3, "192.0.3.1")


def link(number: int, name: str, **changes: object) -> Link:
    usual = Link(number, name, b"ownmac", 1500, True, True, "", None, None, None)
    return usual._replace(**changes)  # type: ignore[arg-type]


def route(prefix: str, by: Gateway = ONE, table: int = 254, **changes: object) -> Route:
    legs = (RouteLeg(by.link, by.host, True),)
    return Route(ip_network(prefix), 0, legs, table)._replace(**changes)  # type: ignore[arg-type]


def rule(priority: int, table: int, source: str | None = None, **changes: object) -> Rule:
    chosen = None if source is None else ip_network(source)
    return Rule(V4, priority, FR_ACT_TO_TBL, table, 0, chosen)._replace(**changes)  # type: ignore[arg-type]


MANY = tuple(RouteLeg(2, f"192.0.2.{n}", True) for n in range(MAX_LEGS + 1))
STANDARD = (rule(0, 255), rule(32766, 254), rule(32767, 253))


def host(
    *routes: Route,
    rules: tuple[Rule, ...] = STANDARD,
    links: tuple[Link, ...] = (link(2, "up0"), link(3, "up1")),
) -> Network:
    return Network({each.number: each for each in links}, routes, {}, rules)


def not_followed(network: Network, sources: Sources = SOURCES) -> list[Unfollowed]:
    found = unfollowed(network, sources, views_of(network, sources), lambda at: at.name.startswith("up"))
    return list(dict.fromkeys(found))


def test_with_the_usual_rules_all_have_one_view() -> None:
    views = views_of(host(route("0.0.0.0/0"), route("10.0.0.0/8", TWO, 100)), SOURCES)
    assert views.intervals[V4] == [[(0, ONE)]]
    assert views.upstream == {V4: 0}
    assert views.downstream == {3: 0, 4: 0, 5: 0}
    assert views.tables[V4] == [254, 253]


def test_each_address_has_the_view_of_its_rule() -> None:
    rules = (rule(0, 255), rule(10, 100, "198.51.100.1/32"), rule(20, 200, "192.0.2.0/24"), *STANDARD[1:])
    network = host(
        route("0.0.0.0/0"), route("0.0.0.0/0", TWO, 100), route("10.0.0.0/8", TWO, 200), rules=rules
    )
    views = views_of(network, SOURCES)
    backbone = [(0, ONE), (10 << 24, TWO), (11 << 24, ONE)]
    assert views.intervals[V4] == [backbone, [(0, TWO)], [(0, ONE)]]
    assert views.upstream == {V4: 0}
    assert views.downstream == {3: 1, 4: 2, 5: 0}
    assert views.tables[V4] == [200, 254, 253, 100]
    assert not not_followed(network)


def test_a_route_for_a_part_of_the_sources_is_for_those_alone() -> None:
    sources = Sources({VipId(1): "2001:db8:a::1", VipId(2): "2001:db8:b::1"}, {V6: ["2001:db8:c::1"]})
    six, two = Gateway(2, "fe80::1"), Gateway(3, "fe80::1")
    network = host(
        route("::/0", six), route("::/0", two, source=ip_network("2001:db8:b::/48"), metric=99), rules=()
    )
    views = views_of(network, sources)
    assert views.intervals[V6] == [[(0, six)], [(0, two)]]
    assert (views.upstream[V6], dict(views.downstream)) == (0, {1: 0, 2: 1})
    assert not not_followed(network, sources)


def test_a_host_without_addresses_of_a_family_has_a_view_of_it_all_the_same() -> None:
    assert views_of(host(), Sources({}, {})).intervals == {V4: [[(0, None)]], V6: [[(0, None)]]}


@pytest.mark.parametrize(
    ("network", "kind", "words"),
    [
        (
            host(rules=(rule(7, 100, others=("sport 53-53",)), *STANDARD)),
            UnfollowedKind.RULE,
            "the IPv4 rule 7 chooses by sport 53-53: it is passed over",
        ),
        (
            host(route("10.0.0.0/8", tos=0x10)),
            UnfollowedKind.ROUTE,
            "the route to 10.0.0.0/8 of table 254 is for tos 0x10 alone: it is passed over",
        ),
        (
            host(route("10.0.0.0/8", legs=(RouteLeg(2, "192.0.2.1", True, 1, False),))),
            UnfollowedKind.LEG,
            "the route to 10.0.0.0/8 of table 254 wraps packets up that leave by up0: not taken",
        ),
        (
            host(route("10.0.0.0/8", legs=(RouteLeg(2, None, True), RouteLeg(3, None, True)))),
            UnfollowedKind.LEG,
            "the route to 10.0.0.0/8 of table 254 has legs without a router: the first alone is taken",
        ),
        (
            host(route("10.0.0.0/8", legs=(RouteLeg(2, None, True), RouteLeg(3, "192.0.3.1", True)))),
            UnfollowedKind.LEG,
            "the route to 10.0.0.0/8 of table 254 has legs without a router: those with a router are taken",
        ),
        (
            host(route("10.0.0.0/8", legs=MANY)),
            UnfollowedKind.LEG,
            f"the route to 10.0.0.0/8 of table 254 has {MAX_LEGS + 1} legs: {MAX_LEGS} are taken",
        ),
        (
            host(links=(link(2, "up0", master=9), link(9, "red", kind="vrf"))),
            UnfollowedKind.VRF,
            "up0 is in the VRF red, whose table is not asked",
        ),
        (
            host(
                links=(
                    link(2, "up0"),
                    link(4, "vlan", vlan=(0x8100, 7), parent=2, master=9),
                    link(9, "red", kind="vrf"),
                )
            ),
            UnfollowedKind.VRF,
            "vlan is in the VRF red, whose table is not asked",
        ),
        (
            host(
                route("0.0.0.0/0"),
                route("0.0.0.0/0", TWO, 100),
                rules=(rule(1, 100, "192.0.2.11/32"), *STANDARD),
            ),
            UnfollowedKind.BACKBONE,
            "packets from 192.0.2.11 are routed unlike those from 192.0.2.10: the routes of 192.0.2.10 are "
            "taken for all",
        ),
    ],
    ids=["rule", "tos", "wrapped", "on a link", "mixed", "many", "vrf", "vrf of a vlan", "backbone"],
)  # fmt: skip
def test_what_is_not_followed_is_named(network: Network, kind: UnfollowedKind, words: str) -> None:
    assert not_followed(network) == [Unfollowed(kind, words)]


@pytest.mark.parametrize(
    "network",
    [
        host(links=(link(2, "mgmt", master=9), link(9, "red", kind="vrf"))),
        host(links=(link(2, "up0", master=9), link(9, "br0", kind="bridge"))),
        host(route("10.0.0.0/8", tos=0x10, table=77)),
        host(rules=(rule(7, 100, others=("sport 53-53",), family=V6), *STANDARD)),
    ],
    ids=["another interface", "a bridge", "a table that is not asked", "a family without addresses"],
)
def test_what_concerns_no_flow_is_not_named(network: Network) -> None:
    four_only = Sources({VipId(3): "198.51.100.1"}, {V4: ["192.0.2.10"]})
    assert not not_followed(network, four_only)

"""Routes laid flat lead every address as the kernel's longest match does."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_network
from typing import TypeVar

from hypothesis import example, given
from hypothesis import strategies as st

from core.addr import IpFamily
from ebpf.net.routes import Route, RouteLeg
from edge.nexthops.fib import (
    MAX_LEGS,
    MISS,
    Gateway,
    Legs,
    Miss,
    OnLink,
    RouteTarget,
    clipped,
    filled,
    flatten,
    layer_of,
    overlaid,
)

V4, V6 = IpFamily.V4, IpFamily.V6
Target = TypeVar("Target")


def route(prefix: str, gateway: str | None, link: int = 2, metric: int = 0, *, is_up: bool = True) -> Route:
    return Route(ip_network(prefix), metric, (RouteLeg(link, gateway, is_up),))


def lead_to(intervals: Sequence[tuple[int, Target]], address: int) -> Target:
    return next(lead for start, lead in reversed(intervals) if start <= address)


def longest_match(routes: list[Route], address: int) -> RouteTarget | Miss:
    """As ip-route(8) describes it, and of several legs all that are up."""
    matching = [
        r for r in routes
        if int(r.prefix.network_address) <= address <= int(r.prefix.broadcast_address)
        and (not r.legs or any(leg.is_up for leg in r.legs))
    ]  # fmt: skip
    if not matching:
        return MISS
    best = min(matching, key=lambda r: (-r.prefix.prefixlen, r.metric))
    if best.is_throw:
        return MISS
    legs = [leg for leg in best.legs if leg.is_up and leg.is_plain]
    weights: dict[Gateway, int] = {}
    for leg in legs:
        if leg.gateway is not None:
            weights.setdefault(Gateway(leg.link, leg.gateway), 0)
            weights[Gateway(leg.link, leg.gateway)] += leg.weight
    if len(weights) > 1:
        return Legs(tuple(sorted(weights.items(), key=lambda row: (-row[1], row[0]))))
    if weights:
        return min(weights)
    return OnLink(legs[0].link) if legs else None


def probes(routes: list[Route], addresses: list[int]) -> set[int]:
    """At and beside every edge, and elsewhere."""
    edges = {int(r.prefix.network_address) for r in routes} | {
        int(r.prefix.broadcast_address) for r in routes
    }
    return {a for edge in edges for a in (edge - 1, edge, edge + 1) if 0 <= a < 2**32} | set(addresses)


_prefixes = st.builds(
    lambda address, length: IPv4Network((address >> (32 - length) << (32 - length), length)),
    st.integers(0, 2**32 - 1) | st.sampled_from([0, 2**32 - 1, 2**31]),
    st.integers(0, 32),
)
_leg = st.builds(
    RouteLeg,
    st.integers(1, 3),
    st.sampled_from([None, "192.0.2.1", "192.0.2.2"]),
    st.booleans(),
    st.integers(1, 256),
    st.booleans(),
)
_addresses = st.lists(st.integers(0, 2**32 - 1))
_tables = st.lists(st.tuples(_prefixes, st.lists(_leg, max_size=4).map(tuple)), max_size=12).map(
    lambda rows: [
        Route(prefix, metric, legs, is_throw=not legs and metric % 2 == 1)
        for metric, (prefix, legs) in enumerate(rows)
    ]
)


@given(_tables, _addresses)
@example([Route(IPv4Network("0.0.0.0/0"), 0, ()), Route(IPv4Network("255.255.255.255/32"), 1, ())], [])
def test_flat_routes_are_the_longest_match(routes: list[Route], addresses: list[int]) -> None:
    layer, intervals = layer_of(routes, V4), flatten(routes, V4)
    for address in probes(routes, addresses):
        match = longest_match(routes, address)
        assert lead_to(layer, address) == match
        assert lead_to(intervals, address) == (None if match is MISS else match)
    assert_in_order(layer)
    assert_in_order(intervals)


def assert_in_order(rows: Sequence[tuple[int, object]]) -> None:
    starts = [start for start, _ in rows]
    assert starts[0] == 0
    assert starts == sorted(set(starts))
    assert all(a[1] != b[1] for a, b in itertools.pairwise(rows)), "neighbours are one"


@given(_tables, _tables, st.none() | _prefixes, _addresses)
def test_a_table_above_another_leaves_it_its_gaps(
    above: list[Route], below: list[Route], within: IPv4Network | None, addresses: list[int]
) -> None:
    first = clipped(layer_of(above, V4), within)
    both = overlaid(first, layer_of(below, V4))
    edges = [] if within is None else [Route(within, 0, ())]
    for address in probes(above + below + edges, addresses):
        is_within = within is None or IPv4Address(address) in within
        match = longest_match(above, address) if is_within else MISS
        assert lead_to(first, address) == match
        assert lead_to(both, address) == (longest_match(below, address) if match is MISS else match)
    assert_in_order(first)
    assert_in_order(both)
    assert_in_order(filled(both))


def test_a_full_table_behind_one_router_is_one_interval() -> None:
    router = route("0.0.0.0/0", "192.0.2.1")
    prefixes = [Route(IPv4Network((n << 16, 16)), 0, router.legs) for n in range(5000)]
    assert flatten([router, *prefixes], V4) == [(0, Gateway(2, "192.0.2.1"))]


def test_of_several_routes_the_one_with_the_least_metric_that_is_up() -> None:
    routes = [
        route("10.0.0.0/8", "192.0.2.1", metric=10, is_up=False),
        route("10.0.0.0/8", "192.0.2.2", metric=30),
        route("10.0.0.0/8", "192.0.2.3", metric=20),
    ]
    assert lead_to(flatten(routes, V4), int(IPv4Address("10.1.1.1"))) == Gateway(2, "192.0.2.3")


def test_families_are_apart() -> None:
    routes = [route("0.0.0.0/0", "192.0.2.1"), Route(IPv6Network("::/0"), 0, (RouteLeg(2, "fe80::1", True),))]
    assert flatten(routes, V6) == [(0, Gateway(2, "fe80::1"))]


def test_several_ipv6_routes_of_one_metric_are_legs_of_one() -> None:
    """Also such as the kernel does not tell in one message, as of two router advertisements."""
    default = IPv6Network("::/0")
    routes = [
        Route(default, 1024, (RouteLeg(2, "fe80::1", True),)),
        Route(default, 1024, (RouteLeg(3, "fe80::1", True),)),
        Route(default, 2048, (RouteLeg(3, "fe80::2", True),)),
    ]
    assert flatten(routes, V6) == [(0, Legs(((Gateway(2, "fe80::1"), 1), (Gateway(3, "fe80::1"), 1))))]
    preferred = routes[1]._replace(preference=1)
    assert flatten([routes[0], preferred], V6) == [(0, Gateway(3, "fe80::1"))]
    down = routes[1]._replace(legs=(RouteLeg(3, "fe80::1", False),))
    assert flatten([routes[0], down], V6) == [(0, Gateway(2, "fe80::1"))]


def test_of_more_legs_than_can_be_told_the_heaviest() -> None:
    legs = tuple(RouteLeg(2, f"192.0.2.{n}", True, n) for n in range(1, MAX_LEGS + 5))
    ((_, target),) = flatten([Route(ip_network("0.0.0.0/0"), 0, legs)], V4)
    assert isinstance(target, Legs)
    assert [weight for _, weight in target.gateways] == list(range(MAX_LEGS + 4, 4, -1))

"""Routes laid flat lead every address as the kernel's longest match does."""

from __future__ import annotations

import itertools
from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_network

from hypothesis import example, given
from hypothesis import strategies as st

from core.addr import IpFamily, pack_address
from core.service.supervisor import MESSAGE_BYTES, _encode
from ebpf.ids import NOWHERE, NextHopId
from ebpf.net.messages import Route, RouteLeg
from edge.nexthops.fib import (
    MAX_INTERVALS,
    Gateway,
    OnLink,
    RouteCache,
    RouteTarget,
    flatten,
)
from edge.nexthops.messages import ON_LINK, hosts_messages, routes_message

V4, V6 = IpFamily.V4, IpFamily.V6


def route(prefix: str, gateway: str | None, link: int = 2, metric: int = 0, *, is_up: bool = True) -> Route:
    return Route(ip_network(prefix), metric, (RouteLeg(link, gateway, is_up),))


def lead_to(intervals: list[tuple[int, RouteTarget]], address: int) -> RouteTarget:
    return next(lead for start, lead in reversed(intervals) if start <= address)


def longest_match(routes: list[Route], address: int) -> RouteTarget:
    """As ip-route(8) describes it."""
    matching = [
        r for r in routes
        if int(r.prefix.network_address) <= address <= int(r.prefix.broadcast_address)
        and (not r.legs or r.legs[0].is_up)
    ]  # fmt: skip
    if not matching:
        return None
    best = min(matching, key=lambda r: (-r.prefix.prefixlen, r.metric))
    if not best.legs:
        return None
    leg = best.legs[0]
    return OnLink(leg.link) if leg.gateway is None else Gateway(leg.link, leg.gateway)


_prefixes = st.builds(
    lambda address, length: IPv4Network((address >> (32 - length) << (32 - length), length)),
    st.integers(0, 2**32 - 1) | st.sampled_from([0, 2**32 - 1, 2**31]),
    st.integers(0, 32),
)
_legs = st.tuples(st.builds(RouteLeg, st.integers(1, 3), st.sampled_from([None, "192.0.2.1"]), st.booleans()))


@given(st.lists(st.tuples(_prefixes, st.just(()) | _legs), max_size=12), st.lists(st.integers(0, 2**32 - 1)))
@example([(IPv4Network("0.0.0.0/0"), ()), (IPv4Network("255.255.255.255/32"), ())], [])
def test_flat_routes_are_the_longest_match(
    drawn: list[tuple[IPv4Network, tuple[RouteLeg, ...]]], addresses: list[int]
) -> None:
    routes = [Route(prefix, metric, legs) for metric, (prefix, legs) in enumerate(drawn)]
    intervals = flatten(routes, V4)
    edges = {int(r.prefix.network_address) for r in routes} | {
        int(r.prefix.broadcast_address) for r in routes
    }
    probes = {a for edge in edges for a in (edge - 1, edge, edge + 1) if 0 <= a < 2**32} | set(addresses)
    for address in probes:
        assert lead_to(intervals, address) == longest_match(routes, address)
    starts = [start for start, _ in intervals]
    assert starts[0] == 0
    assert starts == sorted(set(starts))
    assert all(a[1] != b[1] for a, b in itertools.pairwise(intervals)), "neighbours are one"


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


def test_workers_find_what_the_supervisor_told() -> None:
    cache = RouteCache()
    assert cache.lookup(pack_address("10.0.0.1")) == NOWHERE
    tables = {
        V4: [(0, NextHopId(7)), (10 << 24, ON_LINK), (11 << 24, NextHopId(8))],
        V6: [(0, NOWHERE), (0x2001 << 112, NextHopId(9))],
    }
    cache.set_routes(routes_message(tables))
    assert cache.lookup(pack_address("9.255.255.255")) == 7
    assert cache.lookup(pack_address("11.0.0.0")) == 8
    assert cache.lookup(pack_address("2001::1")) == 9
    assert cache.lookup(pack_address("1::1")) == NOWHERE
    assert cache.lookup(pack_address("10.0.0.5")) is None
    for message in hosts_messages({"10.0.0.5": NextHopId(20)}):
        cache.add_hosts(message)
    assert cache.lookup(pack_address("10.0.0.5")) == 20
    for message in hosts_messages({"10.0.0.5": None}):
        cache.add_hosts(message)
    assert cache.lookup(pack_address("10.0.0.5")) is None


def test_the_longest_messages_fit() -> None:
    tables = {V4: [(0, NOWHERE)], V6: [(n << 64, NextHopId(4095)) for n in range(MAX_INTERVALS - 1)]}
    assert len(_encode(routes_message(tables))) <= MESSAGE_BYTES
    longest = {f"2001:db8:1111:2222:3333:4444:5555:{n:x}": NextHopId(4095) for n in range(0x1000, 0x1800)}
    messages = list(hosts_messages(longest))
    assert sum(len(m["hosts"]) for m in messages) == len(longest)  # type: ignore[arg-type, misc]
    assert all(len(_encode(message)) <= MESSAGE_BYTES for message in messages)

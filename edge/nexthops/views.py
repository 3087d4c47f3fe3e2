"""The routes as they are for each of our addresses: what a host looks like to packets from there.

On most hosts all addresses have the same view, of the main table. With rules like `from 198.51.100.1 lookup
100`, as hosts with two providers have them, each VIP has its own; so it is with IPv6 routes for a part of the
sources. Backbone addresses of a family must be routed alike, as a flow's NAT port may be at any of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from core.addr import IpFamily, family_of
from ebpf.ids import VipId
from ebpf.net.messages import Link
from ebpf.net.routes import Route
from ebpf.net.snapshot import Network
from edge.nexthops.fib import MAX_LEGS, Interval, RouteTarget
from edge.nexthops.policy import Lookup, Step, for_source, intervals, steps, unread
from edge.nexthops.unfollowed import Unfollowed, UnfollowedKind

_NOWHERE_IN_PARTICULAR = {IpFamily.V4: "0.0.0.0", IpFamily.V6: "::"}  # noqa: S104 - of a rule
"""Whose view there is where we have no address."""


class Sources(NamedTuple):
    """Our addresses, from which packets go."""

    vips: Mapping[VipId, str]
    """To clients."""
    backbones: Mapping[IpFamily, Sequence[str]]
    """To transceivers."""

    def of(self, family: IpFamily) -> list[str]:
        """Each of a family once, in order, backbone addresses first."""
        vips = (host for host in self.vips.values() if family_of(host) is family)
        return list(dict.fromkeys([*self.backbones.get(family, ()), *vips]))


NO_SOURCES = Sources({}, {})


class Views(NamedTuple):
    """The views that differ, by family, and whose they are, by their place among those of the family."""

    intervals: Mapping[IpFamily, Sequence[Sequence[Interval]]]
    places: Mapping[str, int]
    """By our addresses."""
    upstream: Mapping[IpFamily, int]
    downstream: Mapping[VipId, int]
    tables: Mapping[IpFamily, Sequence[int]]
    """Which tables are asked at all, in the order of the rules."""

    def targets(self) -> Iterator[RouteTarget]:
        """What the intervals lead to, of all views: many times the same."""
        for of_family in self.intervals.values():
            for rows in of_family:
                for _, target in rows:
                    yield target


def views_of(network: Network, sources: Sources) -> Views:
    """What a view of the network comes to for each of our addresses."""
    found: dict[IpFamily, list[list[Interval]]] = {}
    whose: dict[str, int] = {}
    tables: dict[IpFamily, list[int]] = {}
    for family in IpFamily:
        found[family], places, tables[family] = _of_family(network, sources.of(family), family)
        whose |= places
    upstream = {family: whose[hosts[0]] for family, hosts in sources.backbones.items() if hosts}
    downstream = {vip_id: whose[host] for vip_id, host in sources.vips.items()}
    return Views(found, whose, upstream, downstream, tables)


def _of_family(
    network: Network, hosts: Sequence[str], family: IpFamily
) -> tuple[list[list[Interval]], dict[str, int], list[int]]:
    """(views, the place of each host's, the tables that were asked)"""
    of_family = [route for route in network.routes if route.prefix.version == family]
    by_plan: dict[tuple[tuple[Step, ...], tuple[bool, ...]], int] = {}
    limited = {route.source for route in of_family if route.source is not None}
    found: list[list[Interval]] = []
    places: dict[str, int] = {}
    for host in hosts or [_NOWHERE_IN_PARTICULAR[family]]:
        plan, routes = steps(network.rules, family, host), list(for_source(of_family, host))
        admitted = {route.source for route in routes}
        key = plan, tuple(prefix in admitted for prefix in limited)
        if key not in by_plan:
            view = intervals(routes, plan, family)
            if view not in found:
                found.append(view)
            by_plan[key] = found.index(view)
        places[host] = by_plan[key]
    asked = (step.table for plan, _ in by_plan for step in plan if isinstance(step, Lookup))
    return found, places, list(dict.fromkeys(asked))


def unfollowed(
    network: Network, sources: Sources, views: Views, has_fast_path: Callable[[Link], bool]
) -> Iterator[Unfollowed]:
    """All that is not followed of what concerns packets of flows."""
    for rule in network.rules:
        if sources.of(rule.family) and (why := unread(rule)):
            text = f"the IPv{rule.family} rule {rule.priority} chooses by {', '.join(why)}"
            yield Unfollowed(UnfollowedKind.RULE, f"{text}: it is passed over")
    for route in network.routes:
        if route.table in views.tables[IpFamily(route.prefix.version)]:
            yield from _of_route(network, route)
    yield from _of_vrfs(network.links, has_fast_path)
    yield from _of_backbones(sources, views)


def _of_route(network: Network, route: Route) -> Iterator[Unfollowed]:
    name = f"the route to {route.prefix} of table {route.table}"
    if route.tos:
        yield Unfollowed(UnfollowedKind.ROUTE, f"{name} is for tos {route.tos:#x} alone: it is passed over")
        return
    live = [leg for leg in route.legs if leg.is_up]
    wrapped = [leg for leg in live if not leg.is_plain]
    on_link = [leg for leg in live if leg.gateway is None]
    if wrapped:
        links = ", ".join(sorted({_name(network, leg.link) for leg in wrapped}))
        yield Unfollowed(UnfollowedKind.LEG, f"{name} wraps packets up that leave by {links}: not taken")
    if len(live) > MAX_LEGS:
        yield Unfollowed(UnfollowedKind.LEG, f"{name} has {len(live)} legs: {MAX_LEGS} are taken")
    elif len(live) > 1 and on_link:
        which = "those with a router are" if len(on_link) < len(live) else "the first alone is"
        yield Unfollowed(UnfollowedKind.LEG, f"{name} has legs without a router: {which} taken")


def _name(network: Network, link: int) -> str:
    found = network.links.get(link)
    return f"interface {link}" if found is None else found.name


def _of_vrfs(links: Mapping[int, Link], has_fast_path: Callable[[Link], bool]) -> Iterator[Unfollowed]:
    for link in links.values():
        vrf = links.get(link.master or 0)
        below = links.get(link.parent or 0) if link.vlan is not None else None
        if (
            vrf is not None
            and vrf.kind == "vrf"
            and (has_fast_path(link) or (below and has_fast_path(below)))
        ):
            text = f"{link.name} is in the VRF {vrf.name}, whose table is not asked"
            yield Unfollowed(UnfollowedKind.VRF, text)


def _of_backbones(sources: Sources, views: Views) -> Iterator[Unfollowed]:
    for hosts in sources.backbones.values():
        others = [host for host in hosts if views.places[host] != views.places[hosts[0]]]
        if others:
            text = f"packets from {', '.join(others)} are routed unlike those from {hosts[0]}"
            yield Unfollowed(UnfollowedKind.BACKBONE, f"{text}: the routes of {hosts[0]} are taken for all")

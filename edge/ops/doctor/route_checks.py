"""Where packets of flows go from here: by which rules, routes and legs, and what of that is not followed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

from core.addr import IpFamily, family_of
from ebpf.errors import DataplaneError
from ebpf.ids import VipId
from ebpf.net.messages import Link
from ebpf.net.netlink import AsyncIPRoute
from ebpf.net.routes import TABLE_MAIN, Route, RouteLeg
from ebpf.net.snapshot import Network, read_network
from edge.host.dataplane import Plan
from edge.nexthops.fib import MAX_LEGS
from edge.nexthops.policy import LOOPBACK, Lookup, steps
from edge.nexthops.unfollowed import UnfollowedKind
from edge.nexthops.views import Sources, Views, unfollowed, views_of
from edge.ops.doctor.checks import Check, failed, note, ok, skipped

MAX_ROUTES = 40
"""That are shown; those with several legs first."""
_TABLES = {TABLE_MAIN: "main", 253: "default"}
_FIXES = {
    UnfollowedKind.RULE: "let it choose by `from` and `to`, or see that no flow needs it: docs/dataplane.md",
    UnfollowedKind.ROUTE: "packets of flows take the route without tos; none is needed if that is meant",
    UnfollowedKind.LEG: "route flows by legs with a router that take packets as they are",
    UnfollowedKind.VRF: "take it out of the VRF, or put the routes into a table that a rule names",
    UnfollowedKind.BACKBONE: "route all addresses of dataplane.backbone alike, by several legs if need be",
}
_HARMFUL = UnfollowedKind.VRF, UnfollowedKind.BACKBONE
"""By which flows go wrong."""
_LINKDOWN = "ignore_routes_with_linkdown"


def check(plan: Plan) -> Iterator[Check]:
    """Every check, of the namespace that this runs in."""
    try:
        network = asyncio.run(_look())
    except (OSError, DataplaneError) as error:
        yield skipped("routing", str(error))
        return
    sources = _sources(plan)
    views = views_of(network, sources)
    yield from _tables(network, sources)
    yield from _routes(plan, network, sources, views)
    found = unfollowed(network, sources, views, lambda link: link.name in plan.settings.interfaces)
    for each in dict.fromkeys(found):
        make = failed if each.kind in _HARMFUL else note
        yield make("routing", f"not followed: {each.text}", _FIXES[each.kind])
    yield from _unasked(network, views)


async def _look() -> Network:
    async with AsyncIPRoute() as netlink:
        return await read_network(netlink)


def _sources(plan: Plan) -> Sources:
    vips = {VipId(number): vip.host for number, vip in enumerate(plan.relay.vips)}
    backbones = {
        family: [host for host in plan.settings.backbone if family_of(host) is family] for family in IpFamily
    }
    return Sources(vips, backbones)


def _tables(network: Network, sources: Sources) -> Iterator[Check]:
    """Which tables are asked for each address."""
    by_tables: dict[str, list[str]] = {}
    for family in IpFamily:
        for host in sources.of(family):
            asked = [
                _table(step.table) for step in steps(network.rules, family, host) if isinstance(step, Lookup)
            ]
            by_tables.setdefault(", ".join(dict.fromkeys(asked)) or "no table", []).append(host)
    for tables, hosts in by_tables.items():
        yield ok("routing", f"from {', '.join(hosts)}: {tables}")


def _routes(plan: Plan, network: Network, sources: Sources, views: Views) -> Iterator[Check]:
    asked = [
        route
        for route in network.routes
        if (family := IpFamily(route.prefix.version)) in map(family_of, sources.of(family))
        and route.table in views.tables[family]
        and not route.prefix.is_link_local
        and not any(_name(network, leg.link) == LOOPBACK for leg in route.legs)
    ]
    asked.sort(key=lambda route: (len(route.legs) < 2, route.prefix.version, route.prefix, route.table))
    for route in asked[:MAX_ROUTES]:
        yield _route(plan, network, route)
    if len(asked) > MAX_ROUTES:
        yield ok("routes", f"and {len(asked) - MAX_ROUTES} more with one leg or none")
    balanced = {link.link for route in asked if len(route.legs) > 1 for link in route.legs}
    yield from _settings(network, balanced)


def _route(plan: Plan, network: Network, route: Route) -> Check:
    label = f"route {route.prefix} of table {_table(route.table)}"
    if route.source is not None:
        label += f" from {route.source}"
    if not route.legs:
        return ok(label, "ends the look-up in its table" if route.is_throw else "refuses")
    words = [(_leg(network, leg), _fault(plan, network, route, leg)) for leg in route.legs]
    finding = "; ".join(f"{leg}: {fault or 'followed'}" for leg, fault in words)
    if all(fault is None for _, fault in words) or (len(route.legs) == 1 and route.prefix.prefixlen):
        return ok(label, finding)  # a network that no flow needs may well be elsewhere
    return note(label, finding, "see what is wrong with the legs that are not followed")


def _leg(network: Network, leg: RouteLeg) -> str:
    words = f"dev {_name(network, leg.link)}"
    if leg.gateway is not None:
        words = f"via {leg.gateway} {words}"
    return f"{words} weight {leg.weight}" if leg.weight > 1 else words


def _name(network: Network, number: int) -> str:
    link = network.links.get(number)
    return str(number) if link is None else link.name


def _fault(plan: Plan, network: Network, route: Route, leg: RouteLeg) -> str | None:
    """Why no flow goes by a leg; None where some may."""
    link = network.links.get(leg.link)
    known = network.neighbours.get((leg.link, leg.gateway or ""))
    if route.tos:
        return "for a type of service alone"
    if link is None or not leg.is_up or not link.is_up:
        return "is down"
    if not leg.is_plain:
        return "wraps packets up"
    if _below(network, link).name not in plan.settings.interfaces:
        return "not among dataplane.interfaces"
    if known is not None and known.is_failed:
        return "its router does not answer"
    live = [other for other in route.legs if other.is_up and other.is_plain]
    routers = [other for other in live if other.gateway is not None]
    taken = sorted(routers, key=lambda other: -other.weight)[:MAX_LEGS] if routers else live[:1]
    return None if leg in taken else "passed over for the others"


def _below(network: Network, link: Link) -> Link:
    """The interface under VLAN interfaces."""
    while link.vlan is not None and (parent := network.links.get(link.parent or 0)) is not None:
        link = parent
    return link


def _settings(network: Network, balanced: set[int]) -> Iterator[Check]:
    """What the kernel itself needs for what the relay sends: first packets, and all of `userspace`."""
    if not balanced:
        return
    for family, name in (("ipv4", "IPv4"), ("ipv6", "IPv6")):
        root = Path("/proc/sys/net", family)
        policy = root / "fib_multipath_hash_policy"
        if policy.exists() and policy.read_text().strip() == "0":
            yield note(
                f"balancing {name}",
                "what the relay itself sends is spread by addresses alone: all flows between a VIP and a "
                "client's address take one leg",
                f"`sysctl net.{family}.fib_multipath_hash_policy=1`",
            )
        for link in sorted(network.links[number].name for number in balanced if number in network.links):
            path = root / "conf" / link / _LINKDOWN
            if path.exists() and path.read_text().strip() == "0":
                yield note(
                    f"balancing {name}",
                    f"what the relay itself sends goes by {link} also while that is without a carrier, until "
                    "a routing daemon takes the leg away",
                    f"`sysctl net.{family}.conf.{link}.{_LINKDOWN}=1`",
                )


def _unasked(network: Network, views: Views) -> Iterator[Check]:
    counts: dict[tuple[int, int], int] = {}
    for route in network.routes:
        if route.table not in views.tables[IpFamily(route.prefix.version)]:
            key = route.prefix.version, route.table
            counts[key] = counts.get(key, 0) + 1
    for (version, table), count in sorted(counts.items()):
        text = (
            f"IPv{version} table {_table(table)} has {count} routes, and no rule that leads our packets there"
        )
        yield ok("routing", text)


def _table(number: int) -> str:
    return _TABLES.get(number, str(number))

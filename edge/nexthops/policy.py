"""What the kernel's routing rules come to for packets from one of our addresses.

A packet that the fast path forwards is routed as the kernel would route one that the relay sent itself from
that address: UDP, without a mark, from no interface and not bound to one. So XDP and the userspace forwarder
send the same way. What rules choose by that a flow has not in common with every other from its address is
not followed, and named.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import ip_address
from typing import NamedTuple, TypeAlias

from core.addr import IpFamily, IPNetwork
from ebpf.net.routes import TABLE_LOCAL, TABLE_MAIN, Route
from ebpf.net.rules import FR_ACT_GOTO, FR_ACT_NOP, FR_ACT_TO_TBL, Rule
from edge.nexthops.fib import Interval, Layer, clipped, filled, layer_of, overlaid

LOOPBACK = "lo"
"""Where a packet of the host's own comes from, to rules."""


class Lookup(NamedTuple):
    """Ask a table for destinations within a prefix (None: all), for routes with longer prefixes than that."""

    table: int
    destination: IPNetwork | None = None
    suppressed_length: int = -1


class Refusal(NamedTuple):
    """Destinations within a prefix cannot be reached."""

    destination: IPNetwork | None = None


Step: TypeAlias = Lookup | Refusal
STANDARD = (Lookup(TABLE_MAIN),)
"""Of a kernel without rules."""


def steps(rules: Sequence[Rule], family: IpFamily, source: str) -> tuple[Step, ...]:
    """What happens to packets from an address of ours, in order, until something is found."""
    of_family = [rule for rule in rules if rule.family is family]
    if not of_family:
        return STANDARD
    found: list[Step] = []
    past = -1
    for rule in of_family:
        if rule.priority < past or unread(rule) or not _is_chosen(rule, source):
            continue
        if rule.action == FR_ACT_GOTO:
            if rule.destination is None and any(each.priority == rule.goto for each in of_family):
                past = rule.goto
        elif rule.action == FR_ACT_TO_TBL:
            if rule.table != TABLE_LOCAL:
                length = -1 if rule.suppressed_length is None else rule.suppressed_length
                found.append(Lookup(rule.table, rule.destination, length))
        elif rule.action != FR_ACT_NOP:
            found.append(Refusal(rule.destination))
    return tuple(found)


def _is_chosen(rule: Rule, source: str) -> bool:
    is_chosen = (
        (rule.source is None or ip_address(source) in rule.source)
        and (rule.mark is None or not rule.mark[0] & rule.mark[1])
        and rule.incoming in (None, LOOPBACK)
        and rule.outgoing is None
        and rule.protocol in (None, socket.IPPROTO_UDP)
        and not rule.is_l3mdev
    )
    return is_chosen != rule.is_inverted


def unread(rule: Rule) -> tuple[str, ...]:
    """Why a rule is not followed, for people; empty where it is."""
    if rule.destination is not None and rule.is_inverted:
        return (*rule.others, "not to")
    if rule.destination is not None and rule.action == FR_ACT_GOTO:
        return (*rule.others, "to with goto")
    return rule.others


def intervals(routes: Iterable[Route], plan: Sequence[Step], family: IpFamily) -> list[Interval]:
    """Where packets go for which those steps are taken; `routes` are those that may be for their source."""
    routes = list(routes)
    layer: Layer = layer_of((), family)
    for step in plan:
        layer = overlaid(layer, clipped(_layer(routes, step, family), step.destination))
    return filled(layer)


def _layer(routes: Sequence[Route], step: Step, family: IpFamily) -> Layer:
    if isinstance(step, Refusal):
        return [(0, None)]
    return layer_of((_suppressed(route, step) for route in routes if route.table == step.table), family)


def _suppressed(route: Route, step: Lookup) -> Route:
    """A route that leads somewhere is as if it were none; one that refuses is not suppressed."""
    if route.legs and route.prefix.prefixlen <= step.suppressed_length:
        return route._replace(is_throw=True)
    return route


def for_source(routes: Iterable[Route], source: str) -> Iterator[Route]:
    """The routes that packets from an address of ours may take."""
    address = ip_address(source)
    for route in routes:
        if not route.tos and (route.source is None or address in route.source):
            yield route

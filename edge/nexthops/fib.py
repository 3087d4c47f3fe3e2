"""The routes of the kernel as intervals of addresses that do not overlap, each with what it leads to.

What is behind a gateway shares its next hop; what is on a link is a next hop of its own; where a route has
several legs, each flow takes one of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from enum import Enum
from typing import NamedTuple, TypeAlias

from core.addr import IpFamily, IPNetwork
from ebpf.net.routes import Route

MAX_INTERVALS = 1000
"""Of all views in both families together, so that they fit into a control message."""
MAX_LEGS = 16
"""That a route's flows are spread over."""


class Gateway(NamedTuple):
    """Out of a link to a router."""

    link: int
    host: str


class OnLink(NamedTuple):
    """Out of a link to the destination itself."""

    link: int


class Legs(NamedTuple):
    """Out to one of several routers, by weight; in order, each once."""

    gateways: tuple[tuple[Gateway, int], ...]


class Miss(Enum):
    """There is no route, so the next table is asked."""

    MISS = "miss"


MISS = Miss.MISS
RouteTarget: TypeAlias = Gateway | OnLink | Legs | None
"""What a route says of its destinations; None: they cannot be reached."""
Interval: TypeAlias = tuple[int, RouteTarget]
"""The first address of an interval, which ends where the next one begins."""
Layer: TypeAlias = list[tuple[int, RouteTarget | Miss]]
"""The intervals of one table, with the gaps that others may fill."""


def flatten(routes: Iterable[Route], family: IpFamily) -> list[Interval]:
    """The routes of one table and family as intervals, in order; the first begins at address 0."""
    return filled(layer_of(routes, family))


def layer_of(routes: Iterable[Route], family: IpFamily) -> Layer:
    """The same, with gaps; of routes of one prefix, the best."""
    layer: Layer = [(0, MISS)]
    around: list[tuple[int, RouteTarget | Miss]] = []
    for (start, _), same in sorted(_by_prefix(routes, family).items()):
        _close(around, layer, start)
        target = _target(same)
        layer.append((start, target))
        around.append((int(same[0].prefix.broadcast_address), target))
    end = 1 << 8 * family.address_bytes
    _close(around, layer, end)
    return _merged([interval for interval in layer if interval[0] < end])


def _by_prefix(routes: Iterable[Route], family: IpFamily) -> dict[tuple[int, int], list[Route]]:
    """The routes that count, by prefix: of an IPv6 prefix those of the best rank are several legs of one."""
    best: dict[tuple[int, int], list[Route]] = {}
    for route in routes:
        if route.prefix.version != family or not _is_usable(route):
            continue
        key = (int(route.prefix.network_address), route.prefix.prefixlen)
        there = best.get(key)
        if there is None or _rank(route) < _rank(there[0]):
            best[key] = [route]
        elif family is IpFamily.V6 and _rank(route) == _rank(there[0]):
            there.append(route)
    return best


def _rank(route: Route) -> tuple[int, int, int]:
    """The less, the better: a route for a smaller part of the sources, then the metric."""
    return -(route.source.prefixlen if route.source else 0), route.metric, -route.preference


def _is_usable(route: Route) -> bool:
    """The kernel looks past a route whose legs are all down, but not past one that refuses."""
    return not route.legs or any(leg.is_up for leg in route.legs)


def _target(routes: Sequence[Route]) -> RouteTarget | Miss:
    """What routes of one prefix and rank come to. A destination on a link is looked for on one link alone."""
    if routes[0].is_throw:
        return MISS
    legs = [leg for route in routes for leg in route.legs if leg.is_up and leg.is_plain]
    weights: dict[Gateway, int] = {}
    for leg in legs:
        if leg.gateway is not None:
            gateway = Gateway(leg.link, leg.gateway)
            weights[gateway] = weights.get(gateway, 0) + leg.weight
    if len(weights) > 1:
        return Legs(tuple(sorted(weights.items(), key=_weight_first)[:MAX_LEGS]))
    if weights:
        return next(iter(weights))
    return OnLink(legs[0].link) if legs else None


def _weight_first(row: tuple[Gateway, int]) -> tuple[int, Gateway]:
    return -row[1], row[0]


def _close(around: list[tuple[int, RouteTarget | Miss]], layer: Layer, start: int) -> None:
    """End the routes that do not reach `start`; behind each, the one around it goes on."""
    while around and around[-1][0] < start:
        last, _ = around.pop()
        layer.append((last + 1, around[-1][1] if around else MISS))


def _merged(layer: Layer) -> Layer:
    merged: Layer = []
    for start, target in layer:
        if merged and merged[-1][0] == start:
            merged.pop()
        if not merged or merged[-1][1] != target:
            merged.append((start, target))
    return merged


def clipped(layer: Layer, prefix: IPNetwork | None) -> Layer:
    """The part of a layer that is within a prefix; None: all of it."""
    if prefix is None:
        return layer
    first, last = int(prefix.network_address), int(prefix.broadcast_address)
    end = 1 << prefix.max_prefixlen
    rows: Layer = [(0, MISS)]
    rows += [
        (max(start, first), target)
        for start, target, stop in _spans(layer, end)
        if start <= last and stop > first
    ]
    if last + 1 < end:
        rows.append((last + 1, MISS))
    return _merged(rows)


def _spans(layer: Layer, end: int) -> Iterator[tuple[int, RouteTarget | Miss, int]]:
    """(first address, target, the address after the last)"""
    for i, (start, target) in enumerate(layer):
        yield start, target, layer[i + 1][0] if i + 1 < len(layer) else end


def overlaid(above: Layer, below: Layer) -> Layer:
    """A layer, and where it has a gap, another."""
    rows: Layer = []
    i = j = 0
    for start in sorted({start for start, _ in above} | {start for start, _ in below}):
        while i + 1 < len(above) and above[i + 1][0] <= start:
            i += 1
        while j + 1 < len(below) and below[j + 1][0] <= start:
            j += 1
        rows.append((start, below[j][1] if above[i][1] is MISS else above[i][1]))
    return _merged(rows)


def filled(layer: Layer) -> list[Interval]:
    """A layer under which there is no other."""
    rows = _merged([(start, None if isinstance(target, Miss) else target) for start, target in layer])
    return [(start, target) for start, target in rows if not isinstance(target, Miss)]

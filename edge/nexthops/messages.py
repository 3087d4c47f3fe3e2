"""What supervisor and workers tell each other about next hops, as control messages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, TypeAlias

from core.addr import IpFamily
from core.service.supervisor import Message
from ebpf.ids import NextHopId, VipId

ROUTES, HOSTS, RESOLVE = "routes", "hosts", "resolve"
"""To a worker: routes, hosts on a link. From it: which hosts to find."""
HOSTS_PER_MESSAGE = 500
ON_LINK = NextHopId(-1)
"""In place of a next hop: the destination is on a link, and is one by itself."""
FIRST_SPREAD = -2
"""In place of a next hop: the first of the spreads; those behind it have lesser numbers."""
MAX_SPREADS = 32
"""Sets of legs that differ, so that they fit into a message."""


class SpreadLeg(NamedTuple):
    """A next hop, its weight among the others (1–65536), and what stands for it in the hash (32 bits)."""

    nexthop: NextHopId
    weight: int
    seed: int


View: TypeAlias = Sequence[tuple[int, NextHopId]]
"""Intervals as (first address, next hop, NOWHERE, ON_LINK or a spread); each ends where the next begins."""


class RouteTables(NamedTuple):
    """All that a worker must know of routes."""

    views: Mapping[IpFamily, Sequence[View]]
    spreads: Sequence[Sequence[SpreadLeg]] = ()
    upstream: Mapping[IpFamily, int] = {}
    """Whose view is that of the backbone addresses; the first, where it is not said."""
    downstream: Mapping[VipId, int] = {}
    """The same of each VIP."""


def spread_number(place: int) -> NextHopId:
    """What stands for the spread at that place."""
    return NextHopId(FIRST_SPREAD - place)


def routes_message(tables: RouteTables) -> Message:
    """What tells workers the routes."""
    return {
        "type": ROUTES,
        **{
            str(family): [
                [[f"{start:0{2 * family.address_bytes}x}", target] for start, target in rows]
                for rows in tables.views.get(family, ())
            ]
            for family in IpFamily
        },
        "spreads": [[list(leg) for leg in legs] for legs in tables.spreads],
        "upstream": {str(family): view for family, view in tables.upstream.items()},
        "downstream": list(tables.downstream.items()),
    }


def hosts_messages(hosts: Mapping[str, NextHopId | None]) -> Iterator[Message]:
    """What tells workers the next hops of hosts on a link; None: no longer one."""
    rows = list(hosts.items())
    for start in range(0, len(rows), HOSTS_PER_MESSAGE):
        yield {"type": HOSTS, "hosts": dict(rows[start : start + HOSTS_PER_MESSAGE])}

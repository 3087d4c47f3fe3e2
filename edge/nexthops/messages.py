"""What supervisor and workers tell each other about next hops, as control messages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

from core.addr import IpFamily
from core.service.supervisor import Message
from ebpf.ids import NextHopId

ROUTES, HOSTS, RESOLVE = "routes", "hosts", "resolve"
"""To a worker: routes, hosts on a link. From it: which hosts to find."""
HOSTS_PER_MESSAGE = 500
ON_LINK = NextHopId(-1)
"""In place of a next hop: the destination is on a link, and is one by itself."""

RouteTables: TypeAlias = Mapping[IpFamily, Sequence[tuple[int, NextHopId]]]
"""By family, intervals as (first address, next hop, NOWHERE or ON_LINK); each ends where the next begins."""


def routes_message(tables: RouteTables) -> Message:
    """What tells workers the routes."""
    return {
        "type": ROUTES,
        **{
            str(family): [[f"{start:0{2 * family.address_bytes}x}", target] for start, target in rows]
            for family, rows in tables.items()
        },
    }


def hosts_messages(hosts: Mapping[str, NextHopId | None]) -> Iterator[Message]:
    """What tells workers the next hops of hosts on a link; None: no longer one."""
    rows = list(hosts.items())
    for start in range(0, len(rows), HOSTS_PER_MESSAGE):
        yield {"type": HOSTS, "hosts": dict(rows[start : start + HOSTS_PER_MESSAGE])}

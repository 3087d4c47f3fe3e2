"""What supervisor and workers tell each other about next hops, as control messages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from core.service.supervisor import Message

ROUTES, HOSTS, RESOLVE = "routes", "hosts", "resolve"
"""To a worker: routes, hosts on a link. From it: which hosts to find."""
HOSTS_PER_MESSAGE = 500


def routes_message(tables: dict[int, list[tuple[int, int]]]) -> Message:
    """What tells workers the routes: intervals as (first address, next hop or ON_LINK), by IP version."""
    return {
        "type": ROUTES,
        "4": [[f"{start:08x}", target] for start, target in tables[4]],
        "6": [[f"{start:032x}", target] for start, target in tables[6]],
    }


def hosts_messages(hosts: Mapping[str, int | None]) -> Iterator[Message]:
    """What tells workers the next hops of hosts on a link; None: no longer one."""
    rows = list(hosts.items())
    for start in range(0, len(rows), HOSTS_PER_MESSAGE):
        yield {"type": HOSTS, "hosts": dict(rows[start : start + HOSTS_PER_MESSAGE])}

"""Which way an address leads, as a worker asks it for each new flow: a sorted list and one bisection.

The routes of the kernel's main table overlap; laid out flat, as intervals that do not, a look-up costs
under a microsecond and neighbouring intervals that lead the same way are one. What is behind a gateway
shares its next hop; what is on a link is a next hop of its own.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from core.service.supervisor import Message
from ebpf.flows import pack_address

if TYPE_CHECKING:
    from ebpf.network import Route

ROUTES, HOSTS, RESOLVE = "routes", "hosts", "resolve"
"""Messages to a worker, and from it, about next hops."""
NOWHERE, ON_LINK = 0, -1
HOSTS_PER_MESSAGE = 500
MAX_INTERVALS = 1000
"""In both families together, so that they fit into a control message."""


class Gateway(NamedTuple):
    """Out of a link to a router."""

    link: int
    host: str


class OnLink(NamedTuple):
    """Out of a link to the destination itself."""

    link: int


Lead: TypeAlias = Gateway | OnLink | None
"""Where a route leads; None: nowhere."""
Interval: TypeAlias = tuple[int, Lead]
"""The first address of an interval, which ends where the next one begins."""


def flatten(routes: Iterable[Route], version: int) -> list[Interval]:
    """The routes of an address family as intervals, in order; the first begins at address 0.

    Of a route with several live ways it is always the first: which legs the kernel would choose for a
    flow cannot be foreseen.
    """
    best: dict[tuple[int, int], tuple[int, Route]] = {}
    for route in routes:
        if route.prefix.version == version and _leads(route):
            key = (int(route.prefix.network_address), route.prefix.prefixlen)
            if key not in best or route.metric < best[key][0]:
                best[key] = (route.metric, route)
    intervals: list[Interval] = [(0, None)]
    around: list[tuple[int, Lead]] = []
    for (start, _), (_, route) in sorted(best.items()):
        _close(around, intervals, start)
        lead = _lead(route)
        intervals.append((start, lead))
        around.append((int(route.prefix.broadcast_address), lead))
    end = 1 << (32 if version == 4 else 128)
    _close(around, intervals, end)
    return _merged([interval for interval in intervals if interval[0] < end])


def _leads(route: Route) -> bool:
    """The kernel looks past a route whose ways are all down, but not past one that refuses."""
    return not route.hops or any(hop.is_up for hop in route.hops)


def _lead(route: Route) -> Lead:
    hop = next((hop for hop in route.hops if hop.is_up), None)
    if hop is None:
        return None
    return OnLink(hop.link) if hop.gateway is None else Gateway(hop.link, hop.gateway)


def _close(around: list[tuple[int, Lead]], intervals: list[Interval], start: int) -> None:
    """End the routes that do not reach `start`; behind each, the one around it goes on."""
    while around and around[-1][0] < start:
        last, _ = around.pop()
        intervals.append((last + 1, around[-1][1] if around else None))


def _merged(intervals: Sequence[Interval]) -> list[Interval]:
    merged: list[Interval] = []
    for start, lead in intervals:
        if merged and merged[-1][0] == start:
            merged.pop()
        if not merged or merged[-1][1] != lead:
            merged.append((start, lead))
    return merged


class Ways:
    """What a worker knows of ways out, as its supervisor told it."""

    def __init__(self) -> None:
        self._starts: dict[int, list[bytes]] = {4: [bytes(4)], 16: [bytes(16)]}
        self._targets: dict[int, list[int]] = {4: [NOWHERE], 16: [NOWHERE]}
        self._hosts: dict[bytes, int] = {}
        self.asked: set[str] = set()
        """Hosts on a link whose next hop the supervisor was asked for."""

    def set_routes(self, message: Any) -> None:  # noqa: ANN401 - JSON of our own making
        """Replace the routes, by a message of `routes_message`."""
        for size, name in ((4, "4"), (16, "6")):
            rows = message[name]
            self._starts[size] = [bytes.fromhex(start) for start, _ in rows]
            self._targets[size] = [target for _, target in rows]

    def add_hosts(self, message: Any) -> None:  # noqa: ANN401 - JSON of our own making
        """Learn the next hops of hosts on a link, by a message of `hosts_message`; None: given up."""
        for host, nexthop in message["hosts"].items():
            if nexthop is None:
                self._hosts.pop(pack_address(host), None)
            else:
                self._hosts[pack_address(host)] = nexthop
            self.asked.discard(host)

    def towards(self, address: bytes) -> int | None:
        """The next hop that leads to an address, NOWHERE for none; None: the supervisor has to be asked."""
        size = len(address)
        target = self._targets[size][bisect_right(self._starts[size], address) - 1]
        return target if target != ON_LINK else self._hosts.get(address)


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

"""The next hop of an address, as a worker asks for it with each new flow: a sorted list and one bisection.

The routes of the kernel's main table overlap; laid out flat, as intervals that do not, a look-up costs
under a microsecond and neighbouring intervals of the same target are one. What is behind a gateway
shares its next hop; what is on a link is a next hop of its own.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, TypeAlias

from core.addr import IpFamily, pack_address
from ebpf.ids import NOWHERE, NextHopId
from ebpf.net.messages import Route
from edge.nexthops.messages import ON_LINK

MAX_INTERVALS = 1000
"""In both families together, so that they fit into a control message."""


class Gateway(NamedTuple):
    """Out of a link to a router."""

    link: int
    host: str


class OnLink(NamedTuple):
    """Out of a link to the destination itself."""

    link: int


RouteTarget: TypeAlias = Gateway | OnLink | None
"""What a route says of its destinations; None: they cannot be reached."""
Interval: TypeAlias = tuple[int, RouteTarget]
"""The first address of an interval, which ends where the next one begins."""


def flatten(routes: Iterable[Route], family: IpFamily) -> list[Interval]:
    """The routes of an address family as intervals, in order; the first begins at address 0.

    Of a route with several live legs it is always the first: which of them the kernel would choose for a
    flow cannot be foreseen.
    """
    best: dict[tuple[int, int], tuple[int, Route]] = {}
    for route in routes:
        if route.prefix.version == family and _is_usable(route):
            key = (int(route.prefix.network_address), route.prefix.prefixlen)
            if key not in best or route.metric < best[key][0]:
                best[key] = (route.metric, route)
    intervals: list[Interval] = [(0, None)]
    around: list[tuple[int, RouteTarget]] = []
    for (start, _), (_, route) in sorted(best.items()):
        _close(around, intervals, start)
        target = _target(route)
        intervals.append((start, target))
        around.append((int(route.prefix.broadcast_address), target))
    end = 1 << 8 * family.address_bytes
    _close(around, intervals, end)
    return _merged([interval for interval in intervals if interval[0] < end])


def _is_usable(route: Route) -> bool:
    """The kernel looks past a route whose legs are all down, but not past one that refuses."""
    return not route.legs or any(leg.is_up for leg in route.legs)


def _target(route: Route) -> RouteTarget:
    leg = next((leg for leg in route.legs if leg.is_up), None)
    if leg is None:
        return None
    return OnLink(leg.link) if leg.gateway is None else Gateway(leg.link, leg.gateway)


def _close(around: list[tuple[int, RouteTarget]], intervals: list[Interval], start: int) -> None:
    """End the routes that do not reach `start`; behind each, the one around it goes on."""
    while around and around[-1][0] < start:
        last, _ = around.pop()
        intervals.append((last + 1, around[-1][1] if around else None))


def _merged(intervals: Sequence[Interval]) -> list[Interval]:
    merged: list[Interval] = []
    for start, target in intervals:
        if merged and merged[-1][0] == start:
            merged.pop()
        if not merged or merged[-1][1] != target:
            merged.append((start, target))
    return merged


class RouteCache:
    """The routes as a worker has them from its supervisor, for one look-up per new flow."""

    def __init__(self) -> None:
        # By the length of packed addresses, which a look-up has at hand.
        self._starts: dict[int, list[bytes]] = {4: [bytes(4)], 16: [bytes(16)]}
        self._targets: dict[int, list[NextHopId]] = {4: [NOWHERE], 16: [NOWHERE]}
        self._hosts: dict[bytes, NextHopId] = {}
        self.asked: set[str] = set()
        """Hosts on a link whose next hop the supervisor was asked for."""

    def set_routes(self, message: Any) -> None:  # noqa: ANN401 - JSON of our own making
        """Replace the routes, by a message of `routes_message`."""
        for family in IpFamily:
            rows, size = message[str(family)], family.address_bytes
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

    def lookup(self, address: bytes) -> NextHopId | None:
        """The next hop of a packed address, NOWHERE for none; None: the supervisor has to be asked."""
        size = len(address)
        target = self._targets[size][bisect_right(self._starts[size], address) - 1]
        return target if target != ON_LINK else self._hosts.get(address)

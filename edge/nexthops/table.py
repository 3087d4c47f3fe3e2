"""The next hops of the fast path, kept true to what the kernel knows of routes and neighbours.

No I/O: a `Network` goes in, and out come the adjacencies to write, the hosts to have resolved, and what
workers must know. An id means the same hop for as long as a flow may refer to it.
"""

from __future__ import annotations

import zlib
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import NamedTuple, TypeAlias

from core.addr import IpFamily
from ebpf.ids import NOWHERE, EgressId, NextHopId
from ebpf.layout import NEXTHOPS
from ebpf.net.messages import Link, Neighbour
from ebpf.net.snapshot import Network
from ebpf.tables import Adjacency
from edge.nexthops.fib import MAX_INTERVALS, Gateway, Interval, Legs, OnLink, RouteTarget
from edge.nexthops.messages import MAX_SPREADS, ON_LINK, RouteTables, SpreadLeg, View, spread_number
from edge.nexthops.unfollowed import Unfollowed
from edge.nexthops.views import NO_SOURCES, Sources, Views, unfollowed, views_of

MAX_TAGS = 2
SCARCE = NEXTHOPS * 3 // 4
"""From so many next hops on, those without flows are given up."""
HOLD_S = 30.0
"""How long a MAC is used that nobody answers for any more."""
MAX_NAMED, MAX_REMEMBERED = 20, 1000
"""Of what is not followed, how much is complained of at a time; of all complaints, how many are remembered
to be made only once.
"""
SILENT_S = 7.0
"""After so long a router that does not answer carries no flows that another leg can have: three questions."""


class OnLinkHost(NamedTuple):
    """A client or a transceiver that is on a link with us."""

    host: str


NextHop: TypeAlias = Gateway | OnLinkHost
NetworkAddress: TypeAlias = tuple[int, str]
"""A link, by number, and a host on it."""


@dataclass(slots=True)
class Changes:
    """What follows from a look at the network."""

    adjacencies: dict[NextHopId, Adjacency | None] = field(default_factory=dict)
    """To be written, by next hop."""
    resolve: list[NetworkAddress] = field(default_factory=list)
    """Whose MAC the kernel does not know."""
    complaints: list[str] = field(default_factory=list)
    """For an operator, each once."""


class NextHops:
    """Every next hop by id.

    `written` are the adjacencies that the program has, of before; `egress_of` gives the index in the egress
    table of an interface that has the fast path, `in_use` the ids that flows refer to, `sources` our own
    addresses.
    """

    def __init__(
        self,
        written: Mapping[NextHopId, Adjacency],
        egress_of: Callable[[Link], EgressId | None],
        in_use: Callable[[], Collection[NextHopId]],
        sources: Sources = NO_SOURCES,
    ) -> None:
        self._adjacencies: dict[NextHopId, Adjacency | None] = dict(written)
        self._egress_of = egress_of
        self._in_use = in_use
        self._sources = sources
        self._ids: dict[NextHop, NextHopId] = {}
        self._network: Network | None = None
        self._now_s = 0.0
        self._complained: set[str] = set()
        self._good: dict[NextHop, tuple[bytes, float]] = {}
        """The MAC that a hop had last, and when it was last known to be good."""
        self._views: Views = views_of(Network({}, (), {}), sources)
        self.unfollowed: tuple[Unfollowed, ...] = ()
        """What there is in the routing of this host that the fast path does not follow."""

    @property
    def tables(self) -> RouteTables:
        """The routes as workers need them."""
        places: dict[tuple[SpreadLeg, ...], int] = {}

        def number(target: RouteTarget) -> NextHopId:
            if not isinstance(target, Legs):
                return self._target(target)
            legs = self._spread(target)
            if len(legs) < 2:
                return legs[0].nexthop if legs else NOWHERE
            return spread_number(places.setdefault(legs, len(places)))

        views: dict[IpFamily, list[View]] = {
            family: [[(start, number(target)) for start, target in rows] for rows in of_family]
            for family, of_family in self._views.intervals.items()
        }
        return RouteTables(views, tuple(places), self._views.upstream, self._views.downstream)

    @property
    def hosts(self) -> dict[str, NextHopId]:
        """The next hops of the hosts on a link."""
        return {hop.host: number for hop, number in self._ids.items() if isinstance(hop, OnLinkHost)}

    @property
    def usable(self) -> int:
        """How many of the next hops have an adjacency."""
        return sum(self._adjacencies.get(number) is not None for number in self._ids.values())

    def __len__(self) -> int:
        return len(self._ids)

    def addresses(self) -> list[NetworkAddress]:
        """Every neighbour that packets go to."""
        found = (self._neighbour_of(hop) for hop in self._ids)
        return [address for address in found if address is not None]

    def leg_addresses(self) -> list[NetworkAddress]:
        """The routers of routes with several legs, of which one has to take another's flows soon."""
        return sorted({gateway for legs in _legs_in(self._views) for gateway, _ in legs.gateways})

    def neighbour(self, address: NetworkAddress) -> tuple[Link, Neighbour | None] | None:
        """The link of a neighbour, and what the kernel knows of it; None where the link is gone."""
        link = None if self._network is None else self._network.links.get(address[0])
        if link is None or self._network is None:
            return None
        return link, self._network.neighbours.get(address)

    def look(self, network: Network, now_s: float) -> Changes:
        """Adopt a new view of the network, at a time of the monotonic clock."""
        self._network = network
        self._now_s = now_s
        changes = Changes()
        self._adopt(views_of(network, self._sources), changes)
        gateways = self._gateways()
        self._forget(hop for hop in self._ids if isinstance(hop, Gateway) and hop not in gateways)
        for gateway in sorted(gateways - self._ids.keys()):
            self._number(gateway, changes)
        for hop, number in self._ids.items():
            self._update(hop, number, changes)
        return changes

    def _adopt(self, views: Views, changes: Changes) -> None:
        """Take new routes in the place of the old, if there are not too many."""
        assert self._network is not None
        if sum(1 for _ in views.targets()) > MAX_INTERVALS:
            self._complain(
                changes, f"more than {MAX_INTERVALS} routes that differ in their next hop: the old stay"
            )
            return
        if len(_legs_in(views)) > MAX_SPREADS:
            self._complain(changes, f"more than {MAX_SPREADS} routes that differ in their legs: the old stay")
            return
        self._views = views
        found = unfollowed(
            self._network, self._sources, views, lambda link: self._egress_of(link) is not None
        )
        self.unfollowed = tuple(dict.fromkeys(found))
        for each in self.unfollowed[:MAX_NAMED]:
            self._complain(changes, f"not followed by the fast path: {each.text}")
        if len(self.unfollowed) > MAX_NAMED:
            self._complain(changes, "more is not followed by the fast path: `voxpop doctor` names all of it")

    def _gateways(self) -> set[Gateway]:
        single = {target for target in self._views.targets() if isinstance(target, Gateway)}
        return single | {gateway for legs in _legs_in(self._views) for gateway, _ in legs.gateways}

    def _spread(self, legs: Legs) -> tuple[SpreadLeg, ...]:
        """The legs that flows can take: those whose router answers; if none does, those with an adjacency, of
        before; if there is none either, all.
        """
        numbered = [(gateway, weight) for gateway, weight in legs.gateways if gateway in self._ids]
        usable = [row for row in numbered if self._adjacencies.get(self._ids[row[0]]) is not None]
        answering = [row for row in usable if self._is_answering(row[0])]
        return tuple(
            SpreadLeg(self._ids[gateway], weight, self._seed(gateway))
            for gateway, weight in answering or usable or numbered
        )

    def _is_answering(self, gateway: Gateway) -> bool:
        known = None if self._network is None else self._network.neighbours.get(gateway)
        if known is not None and (known.is_static or known.is_failed):
            return known.is_static
        _, at_s = self._good.get(gateway, (b"", self._now_s))
        return self._now_s - at_s < SILENT_S

    def _seed(self, gateway: Gateway) -> int:
        """The same after a restart, and of a link that was made anew."""
        link = None if self._network is None else self._network.links.get(gateway.link)
        return zlib.crc32(f"{gateway.host}%{'' if link is None else link.name}".encode())

    def add_hosts(self, hosts: Iterable[str]) -> Changes:
        """Take hosts on a link among the next hops."""
        changes = Changes()
        for host in hosts:
            hop = OnLinkHost(host)
            if hop not in self._ids and self._number(hop, changes):
                self._update(hop, self._ids[hop], changes)
        return changes

    def forget_hosts(self) -> list[str]:
        """Drop the hosts on a link that no flow refers to, if ids are getting scarce; their names."""
        if len(self._ids) < SCARCE:
            return []
        in_use = self._in_use()
        idle = [hop for hop, n in self._ids.items() if isinstance(hop, OnLinkHost) and n not in in_use]
        self._forget(idle)
        return [hop.host for hop in idle]

    def _forget(self, hops: Iterable[NextHop]) -> None:
        for hop in list(hops):
            del self._ids[hop]
            self._good.pop(hop, None)

    def _number(self, hop: NextHop, changes: Changes) -> NextHopId | None:
        """An id for a new hop: one that has its very adjacency already, or one that no flow refers to."""
        taken = set(self._ids.values())
        adjacency = self._adjacency(hop, changes)
        same = (
            n for n, written in self._adjacencies.items() if adjacency is not None and written == adjacency
        )
        in_use = self._in_use()
        fresh = (NextHopId(n) for n in range(1, NEXTHOPS) if n not in in_use)
        number = next((n for source in (same, fresh) for n in source if n not in taken), None)
        if number is None:
            self._complain(
                changes, f"all {NEXTHOPS - 1} next hops are in use: new routers and hosts have none"
            )
            self._good.pop(hop, None)
            return None
        self._ids[hop] = number
        if self._adjacencies.get(number) != adjacency:  # whatever it was, no flow goes there any more
            self._adjacencies[number] = changes.adjacencies[number] = None
        return number

    def _update(self, hop: NextHop, number: NextHopId, changes: Changes) -> None:
        old = self._adjacencies.get(number)
        neighbour = self._neighbour_of(hop)
        if neighbour is None:
            return  # no longer on a link: its flows get another next hop, or none, in a moment
        adjacency = self._adjacency(hop, changes)
        if adjacency is None and self._network is not None:
            if old is not None and self._is_held(hop, old) and self._is_open(neighbour[0]):
                adjacency = old  # forgotten by the kernel for want of use, or being asked again: it was good
            changes.resolve.append(neighbour)
        if adjacency != old or number not in self._adjacencies:
            self._adjacencies[number] = changes.adjacencies[number] = adjacency

    def _is_held(self, hop: NextHop, old: Adjacency) -> bool:
        """Whether what a hop had was good a moment ago; of an earlier relay's, a moment from now on."""
        mac, at_s = self._good.setdefault(hop, (old.neighbour_mac, self._now_s))
        return mac == old.neighbour_mac and self._now_s - at_s < HOLD_S

    def _is_good(self, hop: NextHop, known: Neighbour) -> bool:
        """Whether the MAC that the kernel has can still be believed. It asks only for those that it has
        packets for itself, so one that has fallen silent would stay in its table for ever.
        """
        assert known.mac is not None
        mac, at_s = self._good.get(hop, (None, 0.0))
        answered_at_s = self._now_s - known.unconfirmed_s
        since_s = self._now_s if known.is_static or mac != known.mac else max(at_s, answered_at_s)
        self._good[hop] = known.mac, since_s
        return self._now_s - since_s < HOLD_S

    def _is_open(self, link: int) -> bool:
        found = None if self._network is None else self._network.links.get(link)
        return found is not None and found.is_up

    def _neighbour_of(self, hop: NextHop) -> NetworkAddress | None:
        if isinstance(hop, Gateway):
            return hop
        target = self._target_of(hop.host)
        return (target.link, hop.host) if isinstance(target, OnLink) else None

    def _target_of(self, host: str) -> RouteTarget:
        """What the first view says that has the host on a link; else that of the backbone addresses."""
        address = ip_address(host)
        family = IpFamily(address.version)
        found = [_lookup(rows, int(address)) for rows in self._views.intervals[family]]
        on_link = (target for target in found if isinstance(target, OnLink))
        return next(on_link, found[self._views.upstream.get(family, 0)])

    def _adjacency(self, hop: NextHop, changes: Changes) -> Adjacency | None:
        neighbour = self._neighbour_of(hop)
        if neighbour is None or self._network is None:
            return None
        known = self._network.neighbours.get(neighbour)
        link = self._network.links.get(neighbour[0])
        if known is None or known.mac is None or len(known.mac) != 6 or link is None or not link.is_up:
            return None
        if not self._is_good(hop, known):
            return None
        base, tags = self._unwrap(link)
        egress = None if base is None else self._egress_of(base)
        if egress is None:
            self._complain(
                changes,
                f"the route to {neighbour[1]} leaves by {link.name}, which is not among "
                "dataplane.interfaces: packets that go there are dropped",
            )
            return None
        return Adjacency(known.mac, link.mac, min(link.mtu, 0xFFFF), egress, tags)

    def _unwrap(self, link: Link) -> tuple[Link | None, tuple[tuple[int, int], ...]]:
        """The interface under VLAN interfaces, and their tags, the outer one first."""
        tags: list[tuple[int, int]] = []
        below: Link | None = link
        while below is not None and below.vlan is not None and len(tags) < MAX_TAGS:
            tags.insert(0, below.vlan)
            below = None if self._network is None else self._network.links.get(below.parent or 0)
        return below, tuple(tags)

    def _target(self, target: RouteTarget) -> NextHopId:
        if isinstance(target, Gateway):
            return self._ids.get(target, NOWHERE)
        return NOWHERE if target is None else ON_LINK

    def _complain(self, changes: Changes, text: str) -> None:
        if text not in self._complained:
            if len(self._complained) >= MAX_REMEMBERED:
                self._complained.clear()
            self._complained.add(text)
            changes.complaints.append(text)


def _legs_in(views: Views) -> set[Legs]:
    return {target for target in views.targets() if isinstance(target, Legs)}


def _lookup(rows: Sequence[Interval], address: int) -> RouteTarget:
    return rows[bisect_right(rows, address, key=lambda row: row[0]) - 1][1]

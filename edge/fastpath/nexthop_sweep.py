"""All flows of a worker led by new routes: each record compared with what the routes say now, many at a time.

What is written are single stores of two bytes into live records, so packets go by the old next hop or the
new one. Records are only written to where something changes: what a CPU has of the others stays good.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from core.addr import Endpoint, IpFamily, unpack_address
from ebpf.ids import NOWHERE, NatSlot, NextHopId, TransceiverId
from ebpf.layout import NO_TRANSCEIVER, TRANSCEIVERS
from ebpf.tables import Tables
from edge.fastpath.flow_store import FamilyFlows
from edge.nexthops.cache import RouteCache
from edge.nexthops.messages import FIRST_SPREAD
from edge.nexthops.spread import Keys, flow_keys

FLOWS_AT_ONCE = 16_384
"""So many that their arrays stay in a CPU's caches."""


class TransceiverWaiter(NamedTuple):
    """A transceiver whose next hop is to be filled in."""

    family: IpFamily
    number: TransceiverId


class ClientWaiter(NamedTuple):
    """A flow whose client's next hop is to be filled in."""

    family: IpFamily
    slot: NatSlot


Waiter: TypeAlias = TransceiverWaiter | ClientWaiter


class NextHopColumns:
    """The fields of a family's records that this is about, over the maps themselves."""

    def __init__(self, tables: Tables, family: IpFamily) -> None:
        upstream, downstream = tables.records[family]
        self.transceiver: npt.NDArray[np.uint16] = upstream["common"]["transceiver"]
        self.client: npt.NDArray[np.uint32] = downstream["client"]
        self.port: npt.NDArray[np.uint16] = downstream["common"]["client_port"]
        self.vip: npt.NDArray[np.uint8] = downstream["common"]["vip"]
        self.down: npt.NDArray[np.uint16] = downstream["common"]["nexthop"]
        self.up: npt.NDArray[np.uint16] = tables.transceivers[family]["common"]["nexthop"]


class NextHopSweep:
    """One round over the flows of a family. First the numbers of transceivers, then the flows."""

    def __init__(self, routes: RouteCache, flows: FamilyFlows, columns: NextHopColumns, now_ns: int) -> None:
        self._routes = routes
        self._family = flows.family
        self._slots = flows.slots
        self._numbers = flows.transceivers
        self._columns = columns
        self._now_ns = now_ns
        self._targets = np.zeros(TRANSCEIVERS, np.int32)
        """What the routes say of each number's transceiver."""
        self._is_looked_up = np.zeros(TRANSCEIVERS, bool)
        self._is_own = np.zeros(TRANSCEIVERS, bool)
        self._numbers.reclaim_if_due(now_ns)  # not while numbers are taken that no record has yet

    def transceivers(self) -> Iterator[tuple[str, Waiter]]:
        """Give each number of this worker a next hop; who has to be waited for."""
        up = self._columns.up
        for number, key in list(self._numbers.held()):
            hop = self._nexthop_of(number, key)
            if hop is None:
                yield unpack_address(key[:-2]), TransceiverWaiter(self._family, number)
            elif up[number] != hop:
                up[number] = hop

    def _nexthop_of(self, number: TransceiverId, key: bytes) -> NextHopId | None:
        """Its own, if that is a leg; else another leg, to which it is lent."""
        routes, view = self._routes, self._routes.upstream[self._family]
        target = routes.target(key[:-2], view)
        self._targets[number], self._is_looked_up[number], self._is_own[number] = target, True, True
        spread = routes.spread(target)
        if spread is not None:
            own = self._numbers.own_nexthop(number)
            if own in spread.nexthops:
                return own
            lent = spread.choose(number)
            if own == NOWHERE:
                self._numbers.make_own(number, lent)
            return lent
        hop = routes.lookup(key[:-2], view, number)
        if hop:
            self._numbers.make_own(number, hop)
        return hop

    def flows(self) -> Iterator[tuple[str, Waiter]]:
        """Give each flow the next hops of its own; who has to be waited for."""
        live = self._slots.numbers[self._slots.is_live]
        for start in range(0, len(live), FLOWS_AT_ONCE):
            part, columns = live[start : start + FLOWS_AT_ONCE], self._columns
            vips, clients = columns.vip[part], columns.client[part]
            keys = flow_keys(clients, columns.port[part], vips)
            found = self._routes.lookup_all(clients, self._routes.downstream[vips], keys)
            changed = np.flatnonzero((found >= 0) & (found != columns.down[part]))
            columns.down[part[changed]] = found[changed]
            self._move_upstream(part, keys)
            for i in np.flatnonzero(found < 0).tolist():
                yield unpack_address(clients[i].tobytes()), ClientWaiter(self._family, NatSlot(int(part[i])))

    def _move_upstream(self, part: npt.NDArray[np.uint32], keys: Keys) -> None:
        """Give flows whose leg is not that of their number another number of the same transceiver. Numbers of
        another worker may be lent to another leg at any time.
        """
        columns = self._columns
        numbers = columns.transceiver[part]
        self._look_up_others(numbers)
        wanted = self._targets[numbers]
        is_spread = wanted <= FIRST_SPREAD
        if not is_spread.any():
            return
        self._routes.choose_all(wanted, keys)
        is_elsewhere = ~self._is_own[numbers] | (columns.up[numbers] != wanted)
        moving = np.flatnonzero(is_spread & is_elsewhere & (numbers != NO_TRANSCEIVER))
        pairs = numbers[moving].astype(np.int64) << 16 | wanted[moving]
        unique, inverse = np.unique(pairs, return_inverse=True)
        others = [
            self._other_number(TransceiverId(pair >> 16), NextHopId(pair & 0xFFFF))
            for pair in unique.tolist()
        ]
        columns.transceiver[part[moving]] = np.array(others, np.uint16)[inverse]

    def _look_up_others(self, numbers: npt.NDArray[np.uint16]) -> None:
        """Those of other workers, whose flows became ours when the number of workers changed."""
        for number in np.unique(numbers[~self._is_looked_up[numbers]]).tolist():
            address = self._numbers.key_of(number)[:-2]
            self._targets[number] = self._routes.target(address, self._routes.upstream[self._family])
            self._is_looked_up[number] = True

    def _other_number(self, number: TransceiverId, nexthop: NextHopId) -> TransceiverId:
        """The same one, if there is none left: it leads by a leg that is there, if not by the flow's own."""
        key = self._numbers.key_of(number)
        other = self._numbers.find_key(key, nexthop)
        if other is None:
            transceiver = Endpoint(unpack_address(key[:-2]), int.from_bytes(key[-2:], "big"))
            other = self._numbers.take(transceiver, nexthop, self._now_ns)
        return number if other is None else other

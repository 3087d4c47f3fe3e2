"""Next hops per flow: downstream in the flow record, upstream in the transceiver record."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from core.addr import Endpoint, IpFamily, pack_address, unpack_address
from ebpf.ids import NOWHERE, NatSlot, NextHopId, TransceiverId
from ebpf.tables import Tables
from edge.fastpath.flow_store import FlowStore
from edge.nexthops.fib import RouteCache


class TransceiverWaiter(NamedTuple):
    """A transceiver whose next hop is to be filled in."""

    family: IpFamily
    number: TransceiverId


class ClientWaiter(NamedTuple):
    """A flow whose client's next hop is to be filled in."""

    family: IpFamily
    slot: NatSlot


Waiter: TypeAlias = TransceiverWaiter | ClientWaiter


class _Columns:
    """The fields of a family's records that this is about, over the maps themselves."""

    def __init__(self, tables: Tables, family: IpFamily) -> None:
        upstream, downstream = tables.records[family]
        self.transceiver: npt.NDArray[np.uint16] = upstream["common"]["transceiver"]
        self.client: npt.NDArray[np.uint32] = downstream["client"]
        self.down: npt.NDArray[np.uint16] = downstream["common"]["nexthop"]
        self.up: npt.NDArray[np.uint16] = tables.transceivers[family]["common"]["nexthop"]


class FlowNextHops:
    """Keeps the next hops of flows true to what the supervisor says; `ask` asks it for hosts on a link."""

    def __init__(self, store: FlowStore, ask: Callable[[list[str]], None]) -> None:
        self._families = store.families
        self._routes = RouteCache()
        self._ask = ask
        tables = store.maps.tables
        self._columns = {family: _Columns(tables, family) for family in store.families}
        self._live_adjacency = tables.config["nexthop"]["live"]
        self._is_usable = tables.config["nexthop"]["adjacency"]["usable"]
        self._waiting: dict[str, list[Waiter]] = {}

    def lookup(self, host: str) -> NextHopId | None:
        """The next hop of a host, NOWHERE for none; None: it has to be waited for."""
        return self._routes.lookup(pack_address(host))

    def transceiver(
        self, family: IpFamily, endpoint: Endpoint, nexthop: NextHopId | None, now_ns: int
    ) -> TransceiverId | None:
        """The number of a transceiver, whose next hop is `nexthop`; None: there is none left."""
        transceivers = self._families[family].transceivers
        number = transceivers.find(endpoint)
        if number is None:
            number = transceivers.take(endpoint, nexthop or NOWHERE, now_ns)
            if number is not None and nexthop is None:
                self._await(endpoint.host, TransceiverWaiter(family, number))
        elif nexthop is not None:  # it may have been out of reach when its last flow began
            self._columns[family].up[number] = nexthop
        return number

    def await_client(self, family: IpFamily, slot: NatSlot, host: str) -> None:
        """Have the next hop of a flow's client filled in when the supervisor has found it."""
        self._await(host, ClientWaiter(family, slot))

    def _await(self, host: str, waiter: Waiter) -> None:
        self._waiting.setdefault(host, []).append(waiter)
        self._ask_for([host])

    def _ask_for(self, hosts: list[str]) -> None:
        fresh = [host for host in hosts if host not in self._routes.asked]
        self._routes.asked.update(fresh)
        if fresh:
            self._ask(fresh)

    def has_usable_nexthops(self, family: IpFamily, slot: NatSlot) -> bool:
        """Whether the program can send in both directions."""
        columns = self._columns[family]
        hops = columns.up[columns.transceiver[slot]], columns.down[slot]
        return all(self._is_usable[hop, self._live_adjacency[hop] & 1] for hop in hops)

    def learn_hosts(self, message: Any) -> None:  # noqa: ANN401 - JSON of our own making
        """Take in what the supervisor says of hosts on a link."""
        self._routes.add_hosts(message)
        for host, nexthop in message["hosts"].items():
            address = pack_address(host)
            for waiter in self._waiting.pop(host, ()):
                self._fill_in(waiter, address, nexthop or NOWHERE)
        if None in message["hosts"].values():
            self._update_all()

    def _fill_in(self, waiter: Waiter, address: bytes, nexthop: NextHopId) -> None:
        """Fill in what was waited for; meanwhile the number or slot may be somebody else's."""
        columns = self._columns[waiter.family]
        if isinstance(waiter, TransceiverWaiter):
            if self._families[waiter.family].transceivers.is_held(waiter.number, address):
                columns.up[waiter.number] = nexthop
        elif columns.client[waiter.slot].tobytes() == address:
            columns.down[waiter.slot] = nexthop

    def learn_routes(self, message: Any) -> None:  # noqa: ANN401 - JSON of our own making
        """Take in new routes, and look every flow's next hops up in them."""
        self._routes.set_routes(message)
        self._update_all()

    def _update_all(self) -> None:
        unknown: list[str] = []
        for family in self._families:
            for host, waiter in (*self._update_transceivers(family), *self._update_clients(family)):
                self._waiting.setdefault(host, []).append(waiter)
                unknown.append(host)
        self._ask_for(list(dict.fromkeys(unknown)))

    def _update_transceivers(self, family: IpFamily) -> Iterator[tuple[str, Waiter]]:
        """Who has to be waited for."""
        for number, key in self._families[family].transceivers.held():
            hop = self._routes.lookup(key[:-2])
            if hop is None:
                yield unpack_address(key[:-2]), TransceiverWaiter(family, number)
            else:
                self._columns[family].up[number] = hop

    def _update_clients(self, family: IpFamily) -> Iterator[tuple[str, Waiter]]:
        """Who has to be waited for. Many flows may have one client address, behind a NAT."""
        slots, columns = self._families[family].slots, self._columns[family]
        live = slots.numbers[slots.is_live]
        if not len(live):
            return
        clients = np.ascontiguousarray(columns.client[live])
        addresses = clients.view(f"V{family.address_bytes}").ravel()
        unique, inverse = np.unique(addresses, return_inverse=True)
        hops = [self._routes.lookup(address.tobytes()) for address in unique]
        known = np.array([-1 if hop is None else hop for hop in hops], np.int32)[inverse]
        settled = known >= 0
        columns.down[live[settled]] = known[settled]
        names = {i: unpack_address(unique[i].tobytes()) for i, hop in enumerate(hops) if hop is None}
        for slot, which in zip(live[~settled].tolist(), inverse[~settled].tolist(), strict=True):
            yield names[which], ClientWaiter(family, slot)

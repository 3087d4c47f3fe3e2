"""Next hops per flow: downstream in the flow record, upstream by the number of its transceiver."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from core.addr import Endpoint, IpFamily, pack_address
from ebpf.ids import NOWHERE, NatSlot, NextHopId, TransceiverId, VipId
from ebpf.layout import NO_TRANSCEIVER
from edge.fastpath.flow_store import FlowStore
from edge.fastpath.nexthop_sweep import (
    ClientWaiter,
    NextHopColumns,
    NextHopSweep,
    TransceiverWaiter,
    Waiter,
)
from edge.nexthops.cache import RouteCache
from edge.nexthops.messages import FIRST_SPREAD
from edge.nexthops.spread import flow_key


class FlowNextHops:
    """Keeps the next hops of flows true to what the supervisor says; `ask` asks it for hosts on a link."""

    def __init__(self, store: FlowStore, ask: Callable[[list[str]], None]) -> None:
        self._families = store.families
        self._routes = RouteCache()
        self._ask = ask
        tables = store.maps.tables
        self._columns = {family: NextHopColumns(tables, family) for family in store.families}
        self._live_adjacency = tables.config["nexthop"]["live"]
        self._is_usable = tables.config["nexthop"]["adjacency"]["usable"]
        self._waiting: dict[str, list[Waiter]] = {}

    def lookup(
        self, client: Endpoint, vip_id: VipId, transceiver: Endpoint
    ) -> tuple[NextHopId | None, NextHopId | None]:
        """The next hops of a flow, upstream and downstream, NOWHERE for none; None: to be waited for."""
        routes, address, far = self._routes, pack_address(client.host), pack_address(transceiver.host)
        up = routes.target(far, routes.upstream[transceiver.family])
        down = routes.target(address, routes.downstream[vip_id])
        key = flow_key(address, client.port, vip_id) if min(up, down) <= FIRST_SPREAD else 0
        return routes.nexthop(up, far, key), routes.nexthop(down, address, key)

    def transceiver(
        self, family: IpFamily, endpoint: Endpoint, nexthop: NextHopId | None, now_ns: int
    ) -> TransceiverId | None:
        """The number of a transceiver for flows by `nexthop`; None: there is none left."""
        transceivers = self._families[family].transceivers
        number = transceivers.find(endpoint, nexthop or NOWHERE)
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
        """Whether the program can send in both directions, or downstream if it need not do so upstream."""
        columns = self._columns[family]
        number = columns.transceiver[slot]
        hops = [columns.down[slot]] if number == NO_TRANSCEIVER else [columns.up[number], columns.down[slot]]
        return all(self._is_usable[hop, self._live_adjacency[hop] & 1] for hop in hops)

    def learn_hosts(self, message: Any, now_ns: int) -> None:  # noqa: ANN401 - JSON of our own making
        """Take in what the supervisor says of hosts on a link."""
        self._routes.add_hosts(message)
        for host, nexthop in message["hosts"].items():
            address = pack_address(host)
            for waiter in self._waiting.pop(host, ()):
                self._fill_in(waiter, address, nexthop or NOWHERE)
        if None in message["hosts"].values():
            self._update_all(now_ns)

    def _fill_in(self, waiter: Waiter, address: bytes, nexthop: NextHopId) -> None:
        """Fill in what was waited for; meanwhile the number or slot may be somebody else's."""
        columns = self._columns[waiter.family]
        if isinstance(waiter, TransceiverWaiter):
            transceivers = self._families[waiter.family].transceivers
            if transceivers.is_held(waiter.number, address):
                columns.up[waiter.number] = nexthop
                transceivers.make_own(waiter.number, nexthop)
        elif columns.client[waiter.slot].tobytes() == address:
            columns.down[waiter.slot] = nexthop

    def learn_routes(self, message: Any, now_ns: int) -> None:  # noqa: ANN401 - JSON of our own making
        """Take in new routes, and look every flow's next hops up in them."""
        self._routes.set_routes(message)
        self._update_all(now_ns)

    def _update_all(self, now_ns: int) -> None:
        """Numbers of transceivers first: that moves all flows of a leg that is gone, by one store each."""
        unknown: list[str] = []
        for family, flows in self._families.items():
            sweep = NextHopSweep(self._routes, flows, self._columns[family], now_ns)
            for host, waiter in (*sweep.transceivers(), *sweep.flows()):
                self._waiting.setdefault(host, []).append(waiter)
                unknown.append(host)
        self._ask_for(list(dict.fromkeys(unknown)))

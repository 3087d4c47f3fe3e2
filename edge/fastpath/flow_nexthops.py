"""Next hops per flow: downstream in the flow record, upstream in the transceiver record."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from core.addr import Endpoint
from ebpf import layout
from core.addr import pack_address
from ebpf.tables import Tables
from edge.fastpath.nat_slots import Slots
from edge.fastpath.transceiver_ids import Transceivers
from edge.nexthops.fib import NOWHERE, RouteCache

FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}

Waiter = tuple[int, int, int]
"""IP version, direction, and number of the transceiver or slot of the flow."""


class FlowNextHops:
    """Keeps the next hops of flows true to what the supervisor says; `ask` asks it for hosts on a link."""

    def __init__(
        self,
        tables: Tables,
        slots: Mapping[int, Slots],
        transceivers: Mapping[int, Transceivers],
        ask: Callable[[list[str]], None],
    ) -> None:
        self._slots = slots
        self._transceivers = transceivers
        self._routes = RouteCache()
        self._ask = ask
        self._clients = {
            version: records[layout.DOWNSTREAM]["client"] for version, records in tables.records.items()
        }
        self._down = {
            version: records[layout.DOWNSTREAM]["common"]["nexthop"]
            for version, records in tables.records.items()
        }
        self._up = {version: rows["common"]["nexthop"] for version, rows in tables.transceivers.items()}
        self._numbers = {
            version: records[layout.UPSTREAM]["common"]["transceiver"]
            for version, records in tables.records.items()
        }
        self._live_adjacency = tables.config["nexthop"]["live"]
        self._is_usable = tables.config["nexthop"]["adjacency"]["usable"]
        self._waiting: dict[str, list[Waiter]] = {}

    def lookup(self, host: str) -> int | None:
        """The next hop that leads to a host, NOWHERE for none; None: it has to be waited for."""
        return self._routes.lookup(pack_address(host))

    def transceiver(self, version: int, endpoint: Endpoint, nexthop: int | None, now_ns: int) -> int | None:
        """The number of a transceiver, to which `nexthop` leads; None: there is none left."""
        transceivers = self._transceivers[version]
        number = transceivers.find(endpoint)
        if number is None:
            number = transceivers.take(endpoint, nexthop or NOWHERE, now_ns)
            if number is not None and nexthop is None:
                self._await(endpoint.host, (version, layout.UPSTREAM, number))
        elif nexthop is not None:  # it may have led nowhere when its last flow began
            self._up[version][number] = nexthop
        return number

    def await_client(self, version: int, slot: int, host: str) -> None:
        """Have the next hop of a flow's client filled in when the supervisor has found it."""
        self._await(host, (version, layout.DOWNSTREAM, slot))

    def _await(self, host: str, waiter: Waiter) -> None:
        self._waiting.setdefault(host, []).append(waiter)
        self._ask_for([host])

    def _ask_for(self, hosts: list[str]) -> None:
        fresh = [host for host in hosts if host not in self._routes.asked]
        self._routes.asked.update(fresh)
        if fresh:
            self._ask(fresh)

    def has_usable_nexthops(self, version: int, slot: int) -> bool:
        """Whether the program can send both ways."""
        hops = self._up[version][self._numbers[version][slot]], self._down[version][slot]
        return all(self._is_usable[hop, self._live_adjacency[hop] & 1] for hop in hops)

    def learn_hosts(self, message: Any) -> None:  # noqa: ANN401 - JSON of our own making
        """Take in what the supervisor says of hosts on a link."""
        self._routes.add_hosts(message)
        for host, nexthop in message["hosts"].items():
            for version, direction, number in self._waiting.pop(host, ()):
                self._fill_in(version, direction, number, pack_address(host), nexthop or NOWHERE)
        if None in message["hosts"].values():
            self._update_all()

    def _fill_in(self, version: int, direction: int, number: int, address: bytes, nexthop: int) -> None:
        """Fill in what was waited for; meanwhile the number or slot may be somebody else's."""
        if direction == layout.UPSTREAM:
            if self._transceivers[version].is_held(number, address):
                self._up[version][number] = nexthop
        elif self._clients[version][number].tobytes() == address:
            self._down[version][number] = nexthop

    def learn_routes(self, message: Any) -> None:  # noqa: ANN401 - JSON of our own making
        """Take in new routes, and look every flow's next hops up in them."""
        self._routes.set_routes(message)
        self._update_all()

    def _update_all(self) -> None:
        unknown: list[str] = []
        for version in self._slots:
            for host, waiter in (*self._update_transceivers(version), *self._update_clients(version)):
                self._waiting.setdefault(host, []).append(waiter)
                unknown.append(host)
        self._ask_for(list(dict.fromkeys(unknown)))

    def _update_transceivers(self, version: int) -> Iterator[tuple[str, Waiter]]:
        """Who has to be waited for."""
        for number, key in self._transceivers[version].held():
            hop = self._routes.lookup(key[:-2])
            if hop is None:
                yield socket.inet_ntop(FAMILIES[version], key[:-2]), (version, layout.UPSTREAM, number)
            else:
                self._up[version][number] = hop

    def _update_clients(self, version: int) -> Iterator[tuple[str, Waiter]]:
        """Who has to be waited for. Many flows may have one client address, behind a NAT."""
        slots = self._slots[version]
        live = slots.numbers[slots.is_live]
        if not len(live):
            return
        clients = np.ascontiguousarray(self._clients[version][live])
        addresses = clients.view(f"V{4 if version == 4 else 16}").ravel()
        unique, inverse = np.unique(addresses, return_inverse=True)
        hops = [self._routes.lookup(address.tobytes()) for address in unique]
        known = np.array([-1 if hop is None else hop for hop in hops], np.int32)[inverse]
        settled = known >= 0
        self._down[version][live[settled]] = known[settled]
        names = {
            index: socket.inet_ntop(FAMILIES[version], unique[index].tobytes())
            for index, hop in enumerate(hops)
            if hop is None
        }
        for slot, which in zip(live[~settled].tolist(), inverse[~settled].tolist(), strict=True):
            yield names[which], (version, layout.DOWNSTREAM, slot)

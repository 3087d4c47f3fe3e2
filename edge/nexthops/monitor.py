"""Next hops kept true to the network while a relay runs: look, write, resolve neighbours, tell workers."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

from core.errors import VoxpopError
from core.service.supervisor import Message
from ebpf.ids import NOWHERE, NextHopId
from ebpf.net.snapshot import Netlink, Network
from ebpf.tables import REST_S, Tables
from edge.nexthops.maps import write_defaults
from edge.nexthops.messages import RouteTables, hosts_messages, routes_message
from edge.nexthops.table import Changes, NetworkAddress, NextHops
from edge.nexthops.throttle import ResyncThrottle

logger = logging.getLogger(__name__)

LOOK_S = 5.0
"""How often to look where nothing seems to change."""
RETRY_S = 1.0
"""The same while a neighbour does not answer."""
DEFAULTS_S = 15.0
"""How often to see by which next hops most flows go."""
CONFIRM_S = 2.0
"""How often neighbours in use are asked for: the kernel, which sees no packet, would not do it by itself. A
router whose address another machine has taken over in silence is found within this.
"""
CONFIRMS = 64
"""At a time, where there are not more than CONFIRM_ROUNDS as many."""
CONFIRM_ROUNDS = 5
"""After so many each has been asked, well within HOLD_S."""

Tell: TypeAlias = Callable[[Message], None]
"""Tells all workers."""


class NextHopMonitor:
    """The one writer of next hops.

    `place` gives interfaces their egresses before next hops are made of a view of the network; `monotonic_s`
    is the clock of the loop that this runs on.
    """

    def __init__(
        self,
        tables: Tables,
        nexthops: NextHops,
        place: Callable[[Network], Awaitable[None]],
        monotonic_s: Callable[[], float],
    ) -> None:
        self._tables = tables
        self._nexthops = nexthops
        self._place = place
        self._monotonic_s = monotonic_s
        self.throttle = ResyncThrottle()
        """To be refilled now and then."""
        self._told: RouteTables | None = None
        self._changed = asyncio.Event()
        self._defaults_at_s = -math.inf
        self._asked_up_to = 0
        self._unresolved = False
        self._written_at_s: dict[NextHopId, float] = {}
        """When a next hop was last written, if that was less than REST_S ago."""

    async def start(self) -> None:
        """Look for the first time, before there are workers to be told."""
        async with Netlink() as netlink:
            await self._look(netlink, lambda _: None)

    async def run(self, tell: Tell) -> None:
        """Follow the network until cancelled."""
        while True:
            try:
                await self._follow(tell)
            except (OSError, VoxpopError) as error:
                logger.error("cannot follow the network, next hops may go stale: %s", error)
                await asyncio.sleep(RETRY_S)

    def answer(self, hosts: Sequence[str], tell: Tell) -> None:
        """What a worker asks: the next hops of hosts on a link, and all routes if it has just started."""
        if not hosts:
            tell(routes_message(self._nexthops.tables))
            for known in hosts_messages(self._nexthops.hosts):
                tell(known)
            return
        changes = self._nexthops.add_hosts(hosts)
        self._apply(changes)
        if changes.resolve:
            self._unresolved = True
            self._changed.set()
            self.throttle.expedite()
        found = self._nexthops.hosts
        for answer in hosts_messages({host: found.get(host, NOWHERE) for host in hosts}):
            tell(answer)

    async def _follow(self, tell: Tell) -> None:
        async with Netlink() as netlink:
            tasks = [
                asyncio.create_task(self._listen(netlink)),
                asyncio.create_task(self._confirm_always(netlink)),
            ]
            try:
                while True:
                    await self._look(netlink, tell)
                    await self.throttle.pause(is_awaited=self._unresolved)
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(RETRY_S if self._unresolved else LOOK_S):
                            await self._changed.wait()
                    self._changed.clear()
                    for task in tasks:
                        if task.done():
                            task.result()
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _listen(self, netlink: Netlink) -> None:
        async for is_more in netlink.changes():
            self._changed.set()
            if is_more:  # flows may have no way until it is followed
                self.throttle.expedite()

    async def _look(self, netlink: Netlink, tell: Tell) -> None:
        network = await netlink.network()
        await self._place(network)
        changes = self._nexthops.look(network, self._monotonic_s())
        if self._recently_written(changes):
            await asyncio.sleep(REST_S)
        self._apply(changes)
        tables = self._nexthops.tables
        if tables != self._told:
            self._told = tables
            tell(routes_message(tables))
        self._give_up_hosts(tell)
        await self._resolve(netlink, changes)

    def _recently_written(self, changes: Changes) -> bool:
        """Whether a change is to a next hop that rests: see `Tables.set_nexthop`."""
        now_s = self._monotonic_s()
        self._written_at_s = {n: at_s for n, at_s in self._written_at_s.items() if now_s - at_s < REST_S}
        return not self._written_at_s.keys().isdisjoint(changes.adjacencies)

    def _apply(self, changes: Changes) -> None:
        for text in changes.complaints:
            logger.error("%s", text)
        for number, adjacency in changes.adjacencies.items():
            self._tables.set_nexthop(number, adjacency)
            if adjacency is not None:  # a next hop without one has no packet under way
                self._written_at_s[number] = self._monotonic_s()

    def _give_up_hosts(self, tell: Tell) -> None:
        given_up = self._nexthops.forget_hosts()
        for message in hosts_messages(dict.fromkeys(given_up)):
            tell(message)

    async def _resolve(self, netlink: Netlink, changes: Changes) -> None:
        """Ask for neighbours that the kernel does not know; and see now and then which most flows use."""
        self._unresolved = bool(changes.resolve)
        if self._monotonic_s() - self._defaults_at_s >= DEFAULTS_S:
            self._defaults_at_s = self._monotonic_s()
            write_defaults(self._tables)
        await self._ask(netlink, changes.resolve)

    async def _confirm_always(self, netlink: Netlink) -> None:
        """Ask for neighbours in use, a bounded number at a time, whatever is known of them."""
        while True:
            await asyncio.sleep(CONFIRM_S)
            await self._ask(netlink, self._next_to_confirm())
            if self._nexthops.leg_addresses():
                self._changed.set()  # who answers, and has not, is known by looking alone

    def _next_to_confirm(self) -> list[NetworkAddress]:
        """In turn; all of them, where there are few. The legs of routes with several always."""
        legs = self._nexthops.leg_addresses()
        every = sorted(set(self._nexthops.addresses()) - set(legs))
        count = min(len(every), max(CONFIRMS, -(-len(every) // CONFIRM_ROUNDS)))
        start = self._asked_up_to % len(every) if every else 0
        self._asked_up_to = start + count
        return legs + (every[start:] + every[:start])[:count]

    async def _ask(self, netlink: Netlink, addresses: Sequence[NetworkAddress]) -> None:
        for address in addresses:
            found = self._nexthops.neighbour(address)
            if found is not None:
                await netlink.resolve(found[0], address[1], found[1])

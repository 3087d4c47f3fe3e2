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
from edge.nexthops.table import Changes, NextHops
from edge.nexthops.throttle import ResyncThrottle

logger = logging.getLogger(__name__)

LOOK_S = 15.0
"""How often neighbours in use are confirmed: the kernel, which sees no packet, would not do it by itself."""
RETRY_S = 1.0
"""The same while one does not answer."""

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
        self._told: RouteTables = {}
        self._changed = asyncio.Event()
        self._confirmed_at_s = -math.inf
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
            listening = asyncio.create_task(self._listen(netlink))
            try:
                while True:
                    await self._look(netlink, tell)
                    await self.throttle.pause(is_awaited=self._unresolved)
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._changed.wait(), RETRY_S if self._unresolved else LOOK_S)
                    self._changed.clear()
                    if listening.done():
                        listening.result()
            finally:
                listening.cancel()

    async def _listen(self, netlink: Netlink) -> None:
        async for _ in netlink.changes():
            self._changed.set()

    async def _look(self, netlink: Netlink, tell: Tell) -> None:
        network = await netlink.network()
        await self._place(network)
        changes = self._nexthops.look(network)
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
        """Have the kernel ask for neighbours that it does not know; and now and then for all in use, when it
        is time as well to see which of them most flows use.
        """
        self._unresolved = bool(changes.resolve)
        wanted = changes.resolve
        if self._monotonic_s() - self._confirmed_at_s >= LOOK_S:
            self._confirmed_at_s = self._monotonic_s()
            wanted = self._nexthops.addresses()
            write_defaults(self._tables)
        for link, host in wanted:
            await netlink.resolve(link, host)

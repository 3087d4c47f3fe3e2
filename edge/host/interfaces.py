"""The interfaces of the fast path while a relay runs: an egress for each, the program on one that is back."""

from __future__ import annotations

import asyncio
import logging
import os
from ctypes import c_uint32

from core.errors import VoxpopError
from ebpf import layout, pins
from ebpf.ids import EgressId
from ebpf.net.attach import Netdev
from ebpf.net.messages import Link
from ebpf.net.snapshot import Network
from ebpf.tables import Tables
from edge.host.dataplane import Plan, pinned_programs
from edge.nexthops.maps import written_adjacencies

logger = logging.getLogger(__name__)


GRACE_TRIES, GRACE_S = 10, 0.1
"""A new program is attached before it is pinned, so for a moment it is known by neither."""


class Interfaces:
    """Keeps the table of egresses true to the links of this host."""

    def __init__(self, plan: Plan, tables: Tables, modes: dict[str, str]) -> None:
        self.modes = modes
        """`native` or `generic`, by interface that runs the program."""
        self._plan = plan
        self._tables = tables
        self._egresses: dict[int, EgressId] = {}
        self.lost: dict[str, str] = {}
        """Interfaces that had the program and have it no longer, and what they have instead, for people."""
        self._numbers: dict[str, int] = {}
        """Those of the links, by name, that an egress was looked for."""

    def egress_of(self, link: Link) -> EgressId | None:
        """The egress of a link; None: packets cannot leave by it."""
        return self._egresses.get(link.number)

    async def place(self, network: Network) -> None:
        """Give each interface an egress, and the program to one that came back."""
        for name in self._plan.settings.interfaces:
            link = network.link_named(name)
            if link is None:
                if self._numbers.pop(name, None) is not None:
                    self.modes.pop(name, None)
                    self.lost.pop(name, None)
                    logger.error("%s is gone: packets that leave by it are dropped", name)
                continue
            if self._numbers.get(name) != link.number:
                if link.xdp_program is None and not await self._attach(name):
                    continue
                self._numbers[name] = link.number
                self._place(link)
            elif not link.xdp_program:
                self._lose(name, "no XDP program")
            elif await self._is_ours(name, link.xdp_program):
                await self._regain(name)
            else:
                self._lose(name, f"another XDP program (id {link.xdp_program})")

    async def _is_ours(self, name: str, program_id: int) -> bool:
        """Whether a program is one of those pinned, or becomes it in a moment."""
        tries = 1 if name in self.lost else GRACE_TRIES
        for attempt in range(tries):
            if program_id in pinned_programs(self._plan.directory):
                return True
            if attempt + 1 < tries:
                await asyncio.sleep(GRACE_S)
        return False

    def _lose(self, name: str, instead: str) -> None:
        if self.lost.get(name) != instead:
            self.lost[name] = instead
            self.modes.pop(name, None)
            logger.error(
                "%s runs %s in place of the fast path: its calls are not carried, and this relay is not "
                "ready until `voxpop dataplane run`",
                name,
                instead,
            )

    async def _regain(self, name: str) -> None:
        if name not in self.lost:
            return
        try:
            mode = await asyncio.to_thread(_mode_of, name)
        except VoxpopError as error:
            logger.error("cannot look at %s: %s", name, error)
            return
        if mode is not None:
            del self.lost[name]
            self.modes[name] = mode
            logger.warning("%s has the fast path again, in %s mode", name, mode)

    async def _attach(self, name: str) -> bool:
        try:
            self.modes[name] = await asyncio.to_thread(_attach_pinned, self._plan, name)
        except VoxpopError as error:
            logger.error("%s came without the fast path, and cannot have it: %s", name, error)
            return False
        logger.warning("%s came back and has the fast path again, in %s mode", name, self.modes[name])
        return True

    def _place(self, link: Link) -> None:
        """Find or make an egress for an interface; never one that an adjacency of another's refers to."""
        places = {n: self._tables.egresses.lookup(c_uint32(n)) for n in range(layout.EGRESSES)}
        found = next((n for n, ifindex in places.items() if ifindex and ifindex.value == link.number), None)
        if found is None:
            referred = {each.egress for each in written_adjacencies(self._tables).values()}
            found = next((n for n, there in places.items() if not there and n not in referred), None)
            if found is None:
                logger.error("no room for %s among the %d egresses", link.name, layout.EGRESSES)
                return
            self._tables.set_egress(EgressId(found), link.number)
        self._egresses[link.number] = EgressId(found)


def _mode_of(name: str) -> str | None:
    with Netdev() as netdev:
        running = netdev.attached(name)
    return None if running is None else running.mode.value


def _attach_pinned(plan: Plan, name: str) -> str:
    fd = pins.open_pinned_program(plan.directory, plan.program_for(name))
    try:
        with Netdev() as netdev:
            return netdev.attach(name, fd).value
    finally:
        os.close(fd)

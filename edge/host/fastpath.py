"""The fast path as the supervisor of a relay keeps it: who we are, keys, clock, budgets, next hops.

The workers own the flows; what all flows share has its one writer here. It never goes back on what the
program was told: an id of a VIP, a backbone address or a next hop means the same thing as long as a flow
may refer to it, over any number of restarts.
"""

from __future__ import annotations

import asyncio
import logging
import time

from core.config import DataplaneSettings
from core.keyring import Keyring
from core.service.supervisor import Message
from ebpf import layout, pins
from ebpf.errors import DataplaneError, PinError
from ebpf.tables import Rates, Tables
from edge.host.capabilities import RELAY, missing
from edge.host.dataplane import Plan, interfaces
from edge.host.identities import HostIdentities
from edge.host.interfaces import Interfaces
from edge.nexthops.maps import nexthops_in_use, written_adjacencies
from edge.nexthops.monitor import NextHopMonitor, Tell
from edge.nexthops.table import NextHops

logger = logging.getLogger(__name__)

CLOCK_S = 5.0


class XdpHost:
    """Opens what `voxpop dataplane` pinned. Raises DataplaneError, which says what is wrong with it."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        _check_capabilities()
        _check_sizes(plan)
        modes = _check_interfaces(plan)
        self.tables = tables = Tables(plan.directory)
        try:
            self._identities = HostIdentities(tables, plan)
        except BaseException:
            tables.close()
            raise
        self._dscp_upstream = plan.settings.dscp_upstream
        self._interfaces = Interfaces(plan, tables, modes)
        self.nexthops = NextHops(
            written_adjacencies(tables), self._interfaces.egress_of, lambda: nexthops_in_use(tables)
        )
        self._monitor = NextHopMonitor(tables, self.nexthops, self._interfaces.place, time.monotonic)

    @property
    def interfaces(self) -> tuple[str, ...]:
        """Those that are to run the program."""
        return self.plan.settings.interfaces

    @property
    def modes(self) -> dict[str, str]:
        """`native` or `generic`, by interface that runs the program."""
        return self._interfaces.modes

    @property
    def message(self) -> dict[str, object]:
        """What a worker must know to use the tables."""
        return {**self._identities.message(), "dscp_upstream": self._dscp_upstream}

    def configure(self, keyring: Keyring, settings: DataplaneSettings) -> None:
        """Keys, DSCP and budgets; at the start and at each reload."""
        tables = self.tables
        self._dscp_upstream = settings.dscp_upstream
        tables.set_keys(keyring)
        tables.set_dscp(layout.UPSTREAM, settings.dscp_upstream)
        tables.set_dscp(layout.DOWNSTREAM, settings.dscp_downstream)
        for punt_class, source, total in (
            (layout.PUNT_CLASS_STUN, settings.punt_source_pps, settings.punt_total_pps),
            (layout.PUNT_CLASS_MEDIA, settings.punt_media_source_pps, settings.punt_media_total_pps),
        ):
            tables.set_rates(punt_class, Rates(source, source, total, total))

    async def start(self) -> None:
        """Tell the program all that it needs, last of all which addresses are ours."""
        self._set_clock()
        await self._monitor.start()
        self.tables.set_locals(self._identities.local_addresses())

    async def run(self, tell: Tell) -> None:
        """Keep clock and next hops true until cancelled; `tell` tells all workers."""
        clock = asyncio.create_task(self._keep_clock())
        try:
            await self._monitor.run(tell)
        finally:
            clock.cancel()

    def answer(self, message: Message, tell: Tell) -> None:
        """What a worker asks: the next hops of hosts on a link, and all routes if it has just started."""
        hosts = message["hosts"]
        assert isinstance(hosts, list)
        self._monitor.answer(hosts, tell)

    async def _keep_clock(self) -> None:
        while True:
            self._set_clock()
            self._monitor.throttle.refill()
            await asyncio.sleep(CLOCK_S)

    def _set_clock(self) -> None:
        self.tables.set_clock(int(time.time() // 60))

    def close(self) -> None:
        """Close the maps; the fast path goes on."""
        self.tables.close()


def _check_capabilities() -> None:
    lacking = missing(RELAY)
    if lacking:
        raise DataplaneError(f"no right to use the fast path: {', '.join(lacking)} needed")


def _check_sizes(plan: Plan) -> None:
    for spec, count in pins.entries(plan.sizes).values():
        if wrong := pins.misfit(plan.directory, spec, count):
            raise PinError(
                f"{plan.directory}: {wrong}: `voxpop dataplane detach --unpin`, then `voxpop dataplane run`, "
                "makes it anew"
            )


def _check_interfaces(plan: Plan) -> dict[str, str]:
    """The modes of those that run the program, by name."""
    modes = {}
    for state in interfaces(plan):
        if not state.is_present:
            logger.warning("%s is absent: it gets the fast path when it comes", state.name)
        elif not state.is_ours or state.mode is None:
            raise DataplaneError(f"{state.name} does not run the fast path: `voxpop dataplane run` first")
        else:
            modes[state.name] = state.mode.value
    if not modes:
        raise DataplaneError("none of dataplane.interfaces is there")
    return modes

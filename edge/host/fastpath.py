"""The fast path as the supervisor of a relay keeps it: who we are, keys, clock, budgets, next hops.

The workers own the flows; what all flows share has its one writer here. It never goes back on what the
program was told: an id of a VIP, a backbone address or a next hop means the same thing as long as a flow
may refer to it, over any number of restarts.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time

from core.config import DataplaneSettings
from core.keyring import Keyring
from core.service.privileges import missing
from core.service.supervisor import Message
from core.service.tasks import until_one_ends
from ebpf import layout, locks, pins
from ebpf.errors import DataplaneError, PinError
from ebpf.tables import Rates, Tables
from edge.host.capabilities import RELAY
from edge.host.dataplane import Plan, interfaces
from edge.host.identities import HostIdentities
from edge.host.interfaces import Interfaces
from edge.nexthops.maps import nexthops_in_use, written_adjacencies
from edge.nexthops.monitor import NextHopMonitor, Tell
from edge.nexthops.table import NextHops
from edge.relay.emergency import Emergency, EmergencyMode

logger = logging.getLogger(__name__)

CLOCK_S = 5.0
TOKEN_PPS, TOKEN_BURST = 4.0, 32
"""Of one token. A call needs one for each address that it comes from, and what is sent again before the relay
has answered; whoever has overheard a check, or has a token of their own, gets no more from all sources
together.
"""
MEDIA_PPS = 20, 1000
MEDIA_PPS_WITH_STORE = 5000, 20_000
"""Where a PoP dies, its flows come here as media: 20,000 of them within seconds, a tenth of those perhaps
from behind one carrier-grade NAT. As much as first packets have.
"""
CONTESTED_PPS = 2000, 20_000
"""Forty calls at an address, and all that a worker may have of them (edge.relay.forwarder.MAX_CONTESTS)."""
PINS_S = 1.0
"""How often to see whether the maps in use are still those that are pinned."""


class XdpHost:
    """Opens what `voxpop dataplane` pinned, alone of all relays.

    Raises DataplaneError, which says what is wrong with it; HeldError where another relay has it.
    """

    def __init__(self, plan: Plan, *, has_store: bool = False) -> None:
        """`has_store`: whether flows' ufrags are to be kept beside their records."""
        self.plan = plan
        self._keeps_ufrags = has_store
        _check_capabilities()
        with contextlib.ExitStack() as undo:
            lock = locks.take(plan.root, locks.Role.RELAY)
            undo.callback(os.close, lock)
            _check_sizes(plan)
            if has_store:
                pins.ensure_ufrags(plan.directory, plan.sizes)
            modes = _check_interfaces(plan)
            self.tables = tables = Tables(plan.directory)
            undo.callback(tables.close)
            self._identities = HostIdentities(tables, plan)
            self._open = undo.pop_all()
        self._dscp_upstream = plan.settings.dscp_upstream
        mode = EmergencyMode(plan.settings.emergency)
        self.emergency = Emergency(mode, time.monotonic_ns(), was_raised=tables.is_emergency)
        self._interfaces = Interfaces(plan, tables, modes)
        self.nexthops = NextHops(
            written_adjacencies(tables),
            self._interfaces.egress_of,
            lambda: nexthops_in_use(tables),
            self._identities.sources(),
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
    def problems(self) -> list[str]:
        """Why this host is not fit for calls, for people; empty where it is."""
        return [f"{name} runs {instead}" for name, instead in self._interfaces.lost.items()]

    @property
    def message(self) -> dict[str, object]:
        """What a worker must know to use the tables."""
        return {
            **self._identities.message(),
            "dscp_upstream": self._dscp_upstream,
            "keeps_ufrags": self._keeps_ufrags,
        }

    def configure(self, keyring: Keyring, settings: DataplaneSettings, *, has_store: bool) -> None:
        """Keys, DSCP and budgets; at the start and at each reload. With a store, media of flows that only
        other relays know is worth more of the relay's time.
        """
        tables = self.tables
        self._dscp_upstream = settings.dscp_upstream
        tables.set_keys(keyring)
        tables.set_dscp(layout.UPSTREAM, settings.dscp_upstream)
        tables.set_dscp(layout.DOWNSTREAM, settings.dscp_downstream)
        for punt_class, source, total in (
            (layout.PUNT_CLASS_STUN, settings.punt_source_pps, settings.punt_total_pps),
            (layout.PUNT_CLASS_MEDIA, *media_rates(settings, has_store)),
            (layout.PUNT_CLASS_CONTESTED, *CONTESTED_PPS),
        ):
            tables.set_rates(punt_class, Rates(source, source, total, total))
        tables.set_token_rate(TOKEN_PPS, TOKEN_BURST)
        self.emergency.configure(EmergencyMode(settings.emergency), time.monotonic_ns())

    async def start(self) -> None:
        """Tell the program all that it needs, last of all which addresses are ours."""
        self._set_clock()
        await self._monitor.start()
        self.tables.set_locals(self._identities.local_addresses())

    async def run(self, tell: Tell) -> None:
        """Keep clock and next hops true until cancelled; `tell` tells all workers.

        Raises ReplacedError when the maps are no longer those that are pinned: what is attached from then on
        never meets what we write.
        """
        await until_one_ends(self._keep_clock(), self._monitor.run(tell), self._watch_pins())

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

    async def _watch_pins(self) -> None:
        while True:
            pins.check_still_pinned(self.plan.directory, self.tables.map_ids)
            await asyncio.sleep(PINS_S)

    def _set_clock(self) -> None:
        self.tables.set_clock(int(time.time() // 60))

    def close(self) -> None:
        """Close the maps, and let another relay have them; the fast path goes on."""
        self._open.close()


def media_rates(settings: DataplaneSettings, has_store: bool) -> tuple[int, int]:
    """DTLS and media packets per second that are punted for unknown flows: of one source, and of all."""
    source, total = MEDIA_PPS_WITH_STORE if has_store else MEDIA_PPS
    return settings.punt_media_source_pps or source, settings.punt_media_total_pps or total


def _check_capabilities() -> None:
    lacking = missing(RELAY)
    if lacking:
        raise DataplaneError(f"no right to use the fast path: {', '.join(lacking)} needed")


def _check_sizes(plan: Plan) -> None:
    for spec, count in pins.entries(plan.sizes).values():
        if spec not in pins.PROGRAM_ONLY and (wrong := pins.misfit(plan.directory, spec, count)):
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

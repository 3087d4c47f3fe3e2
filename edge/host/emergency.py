"""The emergency level as the supervisor keeps it: what the program and the log are told of it, and a hook."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from core.service.tasks import until_one_ends
from ebpf.tables import Tables
from ebpf.verdict import Reason
from edge.host.emergency_hook import EmergencyHook
from edge.relay.emergency import Emergency, EmergencyCause, EmergencyMode, Shed

logger = logging.getLogger(__name__)

LOOK_S = 1.0
OVERRUN = (Reason.DROP_TOTAL_BUDGET,)
HELD_OFF = (Reason.DROP_EMERGENCY_MEDIA, Reason.DROP_EMERGENCY_PORT)


class EmergencyKeeper:
    """Looks at the load, and tells of every change. A switch of the admin socket."""

    def __init__(
        self, emergency: Emergency, tables: Tables, kernel_drops: Callable[[], int], hook: EmergencyHook
    ) -> None:
        """`kernel_drops`: datagrams for which sockets of the relay had no room."""
        self.hook = hook
        self._emergency = emergency
        self._tables = tables
        self._kernel_drops = kernel_drops
        self._told = emergency.cause

    def status(self) -> dict[str, object]:
        """For an operator; `by` is null while the level is not raised."""
        state = self._emergency
        return {"mode": state.mode, "by": state.cause, "overrun_pps": round(state.pps)}

    def set_mode(self, mode: str) -> None:
        """An operator's word. Raises ValueError."""
        try:
            wanted = EmergencyMode(mode)
        except ValueError:
            raise ValueError(f"mode must be {', '.join(EmergencyMode)}, not {mode!r}") from None
        self._emergency.set_mode(wanted, time.monotonic_ns())
        logger.info("emergency: %s, as told", wanted)
        self.tell()

    async def run(self) -> None:
        """Until cancelled."""
        await until_one_ends(self._look(), self.hook.run())

    async def _look(self) -> None:
        while True:
            self._emergency.observe(self._shed(), time.monotonic_ns())
            self.tell()
            await asyncio.sleep(LOOK_S)

    def _shed(self) -> Shed:
        counts = self._tables.counts().values()
        overrun, held_off = (
            sum(family[reason].packets for family in counts for reason in reasons)
            for reasons in (OVERRUN, HELD_OFF)
        )
        return Shed(overrun + self._kernel_drops(), held_off)

    def tell(self) -> None:
        """The level to the program; what has changed to the log and the hook."""
        cause, before = self._emergency.cause, self._told
        self._tables.set_emergency(cause is not None)
        if cause is before:
            return
        self._told = cause
        pps = round(self._emergency.pps)
        if cause is EmergencyCause.LOAD and before is None:
            logger.error(
                "emergency raised by load, at %d packets/s too many: of strangers only valid tokens pass. "
                "docs/attack.md says what to do",
                pps,
            )
        elif cause is not None and before is None:
            logger.error("emergency raised by an operator: of strangers only valid tokens pass")
        elif cause is None:
            logger.warning("emergency lowered: strangers pass as their budgets allow")
        if (cause is None) != (before is None):
            self.hook.call(cause, before, pps)

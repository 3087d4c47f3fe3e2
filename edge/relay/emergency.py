"""The emergency level of the fast path: when strangers have to wait, by an operator's word or by load.

While it is raised, of strangers only valid tokens pass. By load it is raised when more comes than there is
room for, for ten seconds on end: a PoP that takes over the calls of another has as much for some seconds, and
it is just then that strangers' media is worth looking up. It is lowered after a minute of calm, which counts
what the level itself holds off.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

OVERRUN_PPS, CALM_PPS = 1000.0, 100.0
"""From the one on there is too much, below the other there is calm; between them nothing changes."""
RAISE_AFTER_NS, LOWER_AFTER_NS = 10_000_000_000, 60_000_000_000


class EmergencyMode(StrEnum):
    """What an operator has said."""

    AUTO = "auto"
    ON = "on"
    OFF = "off"


class EmergencyCause(StrEnum):
    """Who has raised the level."""

    OPERATOR = "operator"
    LOAD = "load"


class Shed(NamedTuple):
    """Packets that were dropped since some time or other; both only rise, or begin anew."""

    overrun: int
    """As total budgets were spent, or the sockets of the relay were full."""
    held_off: int
    """As the level was raised."""


class Emergency:
    """The level, and what it takes to change it. `now_ns` is monotonic."""

    def __init__(self, mode: EmergencyMode, now_ns: int, *, was_raised: bool = False) -> None:
        """`was_raised`: by a relay before this one."""
        self.cause: EmergencyCause | None = None
        """None while it is not raised."""
        self.pps = 0.0
        """What there was too much of, packets a second, when last looked at."""
        self._configured = mode
        self.mode = mode
        self._before: tuple[Shed, int] | None = None
        self._since_ns: int | None = None
        """Since when it is as it would have to be for a change; None where it is not."""
        if was_raised:
            self.cause = EmergencyCause.LOAD
        self.set_mode(mode, now_ns)

    def configure(self, mode: EmergencyMode, now_ns: int) -> None:
        """What the configuration says. It counts when it has changed, not against a later word."""
        if mode is not self._configured:
            self._configured = mode
            self.set_mode(mode, now_ns)

    def set_mode(self, mode: EmergencyMode, now_ns: int) -> None:
        """An operator's word. With `auto`, what is raised stays so until there was calm."""
        self.mode = mode
        if mode is EmergencyMode.ON:
            self.cause = EmergencyCause.OPERATOR
        elif mode is EmergencyMode.OFF:
            self.cause = None
        elif self.cause is not None:
            self.cause = EmergencyCause.LOAD
        self._since_ns = now_ns if self.cause is not None else None

    def observe(self, shed: Shed, now_ns: int) -> None:
        """Look at the load, at least every few seconds."""
        before, self._before = self._before, (shed, now_ns)
        if before is None or now_ns <= before[1]:
            return
        self.pps = self._rate(before, shed, now_ns)
        if self.mode is EmergencyMode.AUTO:
            self._judge(before[1], now_ns)

    def _rate(self, before: tuple[Shed, int], shed: Shed, now_ns: int) -> float:
        packets = max(shed.overrun - before[0].overrun, 0)
        if self.cause is not None:
            packets += max(shed.held_off - before[0].held_off, 0)
        return packets * 1e9 / (now_ns - before[1])

    def _judge(self, from_ns: int, now_ns: int) -> None:
        is_raised = self.cause is not None
        if not (self.pps < CALM_PPS if is_raised else self.pps >= OVERRUN_PPS):
            self._since_ns = None
            return
        if self._since_ns is None:
            self._since_ns = from_ns
        if now_ns - self._since_ns >= (LOWER_AFTER_NS if is_raised else RAISE_AFTER_NS):
            self.cause = None if is_raised else EmergencyCause.LOAD
            self._since_ns = None

"""One drift-free 20 ms clock for all sessions of a process.

Deadlines lie on an absolute grid, so lateness never adds up. The period is divided into phases and
members are spread over them, so that a hundred sessions do not all want the core at once.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from transceiver.media import FRAME_NS
from transceiver.media.load import Load

PHASES = 10
"""So many that what a phase keeps the thread from, such as a backend's audio that has just come, waits for a
few sessions only; and an even number, for `halfway`.
"""
_PHASE_NS = FRAME_NS // PHASES
_LATE_NS = 4_000_000
_MAX_CATCH_UP = 2
"""Ticks run back to back after a stall. The far ends' jitter buffers hold about that much; a longer
burst would only reach them as late packets."""
_EARLY_NS = 1_000_000
"""libuv's timers count whole milliseconds and may fire up to one early."""
_LAG_MEMORY_NS = 1_000_000_000
_LOAD_PERIOD_NS = 1_000_000_000

Member = Callable[[int], None]


class Handle:
    """One member's place in the clock, or its two."""

    def __init__(self, *phases: dict[Handle, Member]) -> None:
        self._phases = phases

    def cancel(self) -> None:
        """The member is not called again, not even by a tick that is under way. Idempotent."""
        for phase in self._phases:
            phase.pop(self, None)


class Ticker:
    """Calls every member once per 20 ms with the `now_ns` of its deadline. Needs a running loop.

    A member that raises is removed and reported through the loop's exception handler: one session's
    fault must not stop the others' clock.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._phases: list[dict[Handle, Member]] = [{} for _ in range(PHASES)]
        self._tick = time.monotonic_ns() // _PHASE_NS + 1
        self._timer: asyncio.TimerHandle | None = None
        self._next_load_ns = 0
        self.load = Load()
        """Of the thread that runs the clock, which is the one that transcodes."""
        self.late_ticks = 0
        """Phases that ran more than 4 ms after their deadline."""
        self.skipped_ticks = 0
        """Phases that were dropped because the process was too far behind."""
        self.lag_ms = 0.0
        """The recent peak of lateness; forgotten linearly within a second."""
        self._peak = (0.0, 0)
        self._arm()

    def add(self, member: Member, halfway: Member | None = None) -> Handle:
        """Call `member` every 20 ms from now on, in the least populated phase.

        `halfway` is called in between, 10 ms after and 10 before.
        """
        number = min(range(PHASES), key=lambda number: len(self._phases[number]))
        phase, other = self._phases[number], self._phases[(number + PHASES // 2) % PHASES]
        if halfway is None:
            handle = Handle(phase)
        else:
            handle = Handle(phase, other)
            other[handle] = halfway
        phase[handle] = member
        return handle

    def late_ns(self) -> int:
        """How far behind its deadline the tick under way is by now. For calling within one."""
        return max(0, time.monotonic_ns() - self._tick * _PHASE_NS)

    def __len__(self) -> int:
        return sum(map(len, self._phases))

    def close(self) -> None:
        """Stop the clock and let go of all members."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for phase in self._phases:
            phase.clear()

    def _arm(self) -> None:
        """Sleep until the next phase that has members; phase 0 always runs, to measure the lag."""
        while self._tick % PHASES and not self._phases[self._tick % PHASES]:
            self._tick += 1
        delay_ns = self._tick * _PHASE_NS - time.monotonic_ns()
        self._timer = self._loop.call_later(max(0, delay_ns) / 1e9, self._wake)

    def _wake(self) -> None:
        now_ns = time.monotonic_ns()
        self._measure(now_ns)
        self._skip(now_ns)
        while self._tick * _PHASE_NS <= now_ns + _EARLY_NS:
            self._run(self._phases[self._tick % PHASES], self._tick * _PHASE_NS)
            self._tick += 1
        if self._timer is not None:
            self._arm()

    def _measure(self, now_ns: int) -> None:
        late_ns = max(0, now_ns - self._tick * _PHASE_NS)
        self.late_ticks += late_ns > _LATE_NS
        peak_ms, peak_at_ns = self._peak
        self.lag_ms = max(0.0, peak_ms * (1 - (now_ns - peak_at_ns) / _LAG_MEMORY_NS))
        if late_ns / 1e6 >= self.lag_ms:
            self.lag_ms = late_ns / 1e6
            self._peak = (self.lag_ms, now_ns)
        if now_ns >= self._next_load_ns:
            self.load.sample(time.thread_time_ns(), now_ns)
            self._next_load_ns = now_ns + _LOAD_PERIOD_NS

    def _skip(self, now_ns: int) -> None:
        """Give up on what is more than `_MAX_CATCH_UP` periods old."""
        behind = now_ns // _PHASE_NS - self._tick
        excess = behind - _MAX_CATCH_UP * PHASES
        if excess > 0:
            self.skipped_ticks += excess
            self._tick += excess

    def _run(self, phase: dict[Handle, Member], deadline_ns: int) -> None:
        for handle, member in tuple(phase.items()):
            if handle not in phase:
                continue
            try:
                member(deadline_ns)
            except Exception as error:  # noqa: BLE001  whatever it is, it is that session's alone
                handle.cancel()
                self._loop.call_exception_handler(
                    {"message": "a member of the 20 ms clock failed", "exception": error}
                )

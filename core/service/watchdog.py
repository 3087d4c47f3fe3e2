"""What a service manager is told of a daemon while it runs: ready, how it is, and ever again that it lives.

The word that it lives is said by the event loop, and only while every worker is heard of too: so a supervisor
that stands still, and one that cannot get a worker back on its feet, are both ended and started anew by the
service manager (`WatchdogSec=` of systemd). What a supervisor can mend by itself is left to it.
"""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import Callable
from dataclasses import dataclass

from core.service.notify import READY, VARIABLE, WATCHDOG, notify

ALLOWED, MEANT_FOR = "WATCHDOG_USEC", "WATCHDOG_PID"
"""The environment of sd_watchdog_enabled(3)."""
PERIOD_S = 0.5
"""How often there is something to tell at the most."""
MENDING_S = 105.0
"""How long a worker may be silent that its supervisor kills after 8 s and gives 95 s to be ready again."""
EXTENSION_S = 30.0
"""By how much each word puts off the end of a stop, while work that is carried on makes it long."""


@dataclass(frozen=True, slots=True)
class Condition:
    """What there is to say of a daemon."""

    is_fit: bool
    """Whether it may take work: what is told once, for the start."""
    is_ending: bool
    """Whether it carries on what it has, and then ends."""
    words: str
    """How it is, in one line for people."""
    silent_s: float
    """For how long nothing was heard of the worker that was heard of last."""


def allowed_s() -> float | None:
    """Within what time the service manager wants to hear that this process lives; None: not at all."""
    allowed, meant_for = os.environ.get(ALLOWED, ""), os.environ.get(MEANT_FOR)
    if not allowed.isdecimal() or int(allowed) == 0 or meant_for not in (None, str(os.getpid())):
        return None
    return int(allowed) / 1e6


async def keep_telling(look: Callable[[], Condition]) -> None:
    """Until cancelled. Returns at once where nobody listens."""
    if not os.environ.get(VARIABLE):
        return
    period_s = min(PERIOD_S, (allowed_s() or math.inf) / 3)
    is_told, said = False, ""
    while True:
        found, lines = look(), []
        if not is_told and found.is_fit:
            is_told = True
            lines.append(READY)
        if found.words != said:
            said = found.words
            lines.append(f"STATUS={said}")
        if found.silent_s < MENDING_S:
            lines.append(WATCHDOG)
            if found.is_ending:
                lines.append(f"EXTEND_TIMEOUT_USEC={int(EXTENSION_S * 1e6)}")
        if lines:
            notify(*lines)
        await asyncio.sleep(period_s)

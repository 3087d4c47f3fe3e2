"""Memory that a burst of calls took goes back to the machine when there are none."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import logging
from collections.abc import Callable

logger = logging.getLogger(__name__)

IDLE_CHECK_S = 5.0


def give_back() -> None:
    """Collect, and have glibc return what is free: by itself it keeps all below the topmost block in use."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # other C libraries have none and need none
    if trim is not None:
        trim(0)


async def give_back_when_idle(count: Callable[[], int], ended: Callable[[], int]) -> None:
    """Until cancelled: once after each burst, when no call is there to be late for. `count` is the calls
    there are, `ended` how many have ended.
    """
    before = 0
    while True:
        await asyncio.sleep(IDLE_CHECK_S)
        if count() == 0 and ended() != before:
            before = ended()
            give_back()

"""How soon the network is looked at again, when it has just been looked at."""

from __future__ import annotations

import asyncio
import contextlib

PAUSE_S = 0.1
"""Between two looks, so that a storm of changes costs little."""
QUICK_PAUSE_S = 0.005
"""The same while a neighbour has just been asked for: until its answer is seen, packets to it are lost."""
QUICK_LOOKS = 50
"""Until `refill` is called again; beyond, a storm of new neighbours gets the longer pause."""


class ResyncThrottle:
    """Pauses between looks, which whoever waits for a neighbour may cut short, so many times."""

    def __init__(self) -> None:
        self._quick_looks = QUICK_LOOKS
        self._expedited = asyncio.Event()

    def refill(self) -> None:
        """Allow as many quick looks as at the beginning; now and then."""
        self._quick_looks = QUICK_LOOKS

    def expedite(self) -> None:
        """Somebody waits, from now on: end the pause that there is, or the next one."""
        if self._quick_looks:
            self._quick_looks -= 1
            self._expedited.set()

    async def pause(self, *, is_awaited: bool) -> None:
        """Until it is time to look again; soon if somebody still waits whom the last look did not help."""
        if is_awaited and self._quick_looks:
            self._quick_looks -= 1
            await asyncio.sleep(QUICK_PAUSE_S)
        else:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PAUSE_S):
                    await self._expedited.wait()
        self._expedited.clear()

"""Lack of memory in the midst of an event loop: a sentence in the log, and an end where it does not pass.

What asyncio calls may raise MemoryError as anything may, and what it was doing is lost: a datagram, a
request, a call whose tick it was. The others need not be, and whoever could provoke one such error could
end them all; so the loop goes on, as after any exception. It says in one line what the machine lacks, where
a traceback would point at whatever asked for memory last. Where the errors follow each other closely
nothing works any more: then the work is cancelled, which gives it the chance to say goodbye, and
MemoryError is what ends it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Coroutine
from typing import Any

from core.service.exhausted import lack

logger = logging.getLogger(__name__)

AT_MOST, WITHIN_NS = 32, 10_000_000_000
"""Errors that are borne in so long a time."""
SAY_NS = 60_000_000_000
"""Between two lines in the log."""
GOODBYE_S = 3.0
"""What cancelled work has, before it is left."""


class Shortage:
    """The errors of one loop. No I/O but the log."""

    def __init__(self) -> None:
        self._times: deque[int] = deque(maxlen=AT_MOST)
        self._said_ns: int | None = None

    def note(self, sentence: str, now_ns: int) -> bool:
        """One more; whether it is one too many."""
        if self._said_ns is None or now_ns - self._said_ns >= SAY_NS:
            self._said_ns = now_ns
            logger.error("something was not done: %s", sentence)
        is_full = len(self._times) == AT_MOST
        is_lasting = is_full and now_ns - self._times[0] < WITHIN_NS
        self._times.append(now_ns)
        return is_lasting


async def bearing_shortage(work: Coroutine[Any, Any, None]) -> None:
    """Do the work of a whole loop, whose exceptions it is asked about from here on. Raises what the work
    raises, and MemoryError where memory lacks again and again.
    """
    loop = asyncio.get_running_loop()
    shortage, is_over = Shortage(), loop.create_future()

    def handle(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        sentence = lack(error) if isinstance(error, MemoryError) else None
        if sentence is None:
            loop.default_exception_handler(context)
        elif shortage.note(sentence, time.monotonic_ns()) and not is_over.done():
            is_over.set_result(None)

    loop.set_exception_handler(handle)
    working = loop.create_task(work)
    try:
        await asyncio.wait({working, is_over}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
    finally:
        working.cancel()
        await asyncio.wait({working}, timeout=GOODBYE_S)
    raise MemoryError

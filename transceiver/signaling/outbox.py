"""What waits to be sent to one sideband: bounded, so that a slow one costs a call nothing.

One mark, beyond which it is given up: what it watches cannot be held back for it.
docs/decisions/0453-slow-readers.md has the queues of others, and why they differ.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

MAX_TEXTS: Final = 512
MAX_CHARS: Final = 2 * 1024 * 1024
"""More than one event has at most, and seconds of all that a backend says."""


class Outbox:
    """A `Watcher` of a session. `abort` ends the connection of one that was too slow, at once: what is under
    way to it may never get there.
    """

    def __init__(self, abort: Callable[[], None]) -> None:
        self._abort = abort
        self._texts: deque[str] = deque()
        self._chars = 0
        self._is_over = False
        self.is_too_slow = False
        self._changed = asyncio.Event()

    def show(self, text: str) -> bool:
        """See `Watcher`."""
        if self._is_over:
            return False
        if len(self._texts) >= MAX_TEXTS or self._chars + len(text) > MAX_CHARS:
            self.give_up()
            return False
        self._texts.append(text)
        self._chars += len(text)
        self._changed.set()
        return True

    @property
    def is_over(self) -> bool:
        """Whether there is nothing to come."""
        return self._is_over

    def end(self) -> None:
        """See `Watcher`."""
        self._is_over = True
        self._changed.set()

    def give_up(self) -> None:
        """It does not take what it is sent."""
        self._is_over = self.is_too_slow = True
        self._texts.clear()
        self._changed.set()
        self._abort()

    async def next(self) -> str | None:
        """The next text to send; None when there is none any more."""
        while not self._texts:
            if self._is_over:
                return None
            self._changed.clear()
            await self._changed.wait()
        text = self._texts.popleft()
        self._chars -= len(text)
        return text

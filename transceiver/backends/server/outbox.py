"""Events on their way to a client: a queue with two marks, for a client that reads slowly or not at all.

Beyond the first no more speech is made, which is for this client alone and can wait; beyond the second it is
given up. docs/decisions/0453-slow-readers.md has the queues of others, and why they differ.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque

from transceiver.realtime.event import Event

ENOUGH_CHARS = 512 * 1024
"""Where so much waits, no more speech is made for the client: 8 s of it."""
MOST_CHARS = 4 * 1024 * 1024
"""Where so much waits, the client is given up: these are answers to events that it goes on sending."""


class Outbox:
    """Encoded events, first in, first out."""

    def __init__(self) -> None:
        self._messages: deque[str] = deque()
        self._chars = 0
        self._arrived, self._left = asyncio.Event(), asyncio.Event()
        self.has_overflowed = False
        """Something was dropped, so the client has no whole picture any more."""

    def put(self, event: Event) -> bool:
        """One more. False where there is no room for it."""
        text = json.dumps(event, separators=(",", ":"))
        if self._chars + len(text) > MOST_CHARS:
            self.has_overflowed = True
        else:
            self._messages.append(text)
            self._chars += len(text)
        self._arrived.set()
        return not self.has_overflowed

    def is_full(self) -> bool:
        """Whether the client has much to read yet."""
        return self._chars >= ENOUGH_CHARS

    def take(self) -> str | None:
        """The next message; None where there is none."""
        if not self._messages:
            return None
        text = self._messages.popleft()
        self._chars -= len(text)
        self._left.set()
        return text

    async def filled(self) -> None:
        """Until there is something to take, or something was dropped."""
        while not self._messages and not self.has_overflowed:
            self._arrived.clear()
            await self._arrived.wait()

    async def emptied(self) -> None:
        """Until it is not full."""
        while self.is_full():
            self._left.clear()
            await self._left.wait()

"""Connections that are open before anybody calls, so that no call's first event waits for TCP and TLS."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections import deque
from typing import Final

from transceiver.backends.realtime.backoff import Backoff
from transceiver.backends.realtime.connection import Connection, Dialer, LinkError

logger = logging.getLogger(__name__)

MAX_IDLE_S: Final = 240.0
"""Then a connection gives way to a fresh one: load balancers forget, and sessions of a model expire."""
CHECK_S: Final = 5.0
REFILL_AFTER_S: Final = 0.05
"""A connection was taken by a call that is being set up: dialling another costs as much time as that does,
and can wait until it is done.
"""


class Pool:
    """`size` connections for one model."""

    def __init__(self, dialer: Dialer, model: str, size: int) -> None:
        self._dialer = dialer
        self._model = model
        self._size = size
        self._idle: deque[Connection] = deque()
        self._changed = asyncio.Event()
        self._filling: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to fill it; nobody waits for that."""
        if self._size:
            self._filling = asyncio.create_task(self._keep_full())

    @property
    def idle(self) -> int:
        """Connections that are there to be taken."""
        return sum(not connection.broken.is_set() for connection in self._idle)

    async def take(self, model: str) -> Connection:
        """An open connection for a model, a new one where none waits. Raises LinkError."""
        if model == self._model:
            while self._idle:
                connection = self._idle.popleft()
                self._changed.set()
                if not connection.broken.is_set():
                    return connection
                await connection.close()
        return await self._dialer.open(model)

    async def close(self) -> None:
        """Close what was not taken."""
        if self._filling is not None:
            self._filling.cancel()
            await asyncio.gather(self._filling, return_exceptions=True)
        await asyncio.gather(*(connection.close() for connection in self._idle))
        self._idle.clear()

    async def _keep_full(self) -> None:
        backoff = Backoff(random.random)
        while True:
            await self._drop_old()
            try:
                while len(self._idle) < self._size:
                    self._idle.append(await self._dialer.open(self._model))
                    backoff.reset()
            except LinkError as error:
                logger.warning("no connection to %s: %s, %s", self._dialer.where, error.reason, error.detail)
                await asyncio.sleep(backoff.next_s())
                continue
            self._changed.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CHECK_S):
                    await self._changed.wait()
                    await asyncio.sleep(REFILL_AFTER_S)

    async def _drop_old(self) -> None:
        now_s = asyncio.get_running_loop().time()
        for connection in list(self._idle):
            if connection.broken.is_set() or now_s - connection.opened_s > MAX_IDLE_S:
                self._idle.remove(connection)
                await connection.close()

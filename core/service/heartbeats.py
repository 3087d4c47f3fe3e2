"""A daemon's own heartbeats: written into the store every two seconds, and whenever its state changes.

A task of its own, so that nothing waits for the store; what cannot be written is not made up for later, as
the next says all that there is to say.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import re
import socket
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable

from core.config import StoreSettings
from core.service.tasks import beside
from core.store.base import StoreError, StoreReason
from core.store.guarded import GuardedStore
from core.store.heartbeat import PERIOD_S
from core.store.keys import HostKind
from core.store.open import open_guarded
from core.store.registry import Beat, Registry
from core.store_url import StoreSecrets

logger = logging.getLogger(__name__)

JITTER = 0.1
"""Of the period, either way, so that hosts that were started together do not beat together."""
REMEMBERED = 8
QUIET_BEATS = 30
"""In a row that are our own, after which it is told again when another writes under our name."""


class Heartbeats:
    """Of one daemon, on its event loop. `make` says what is true now."""

    def __init__(self, store: GuardedStore, kind: HostKind, make: Callable[[float], Beat]) -> None:
        """`make` is given the wall clock, Unix time."""
        self.registry = Registry(store)
        self.written = 0
        self._kind = kind
        self._make = make
        self._ours = deque[bytes](maxlen=REMEMBERED)
        """Also those of which nobody has said whether they were written."""
        self._foreign = 0
        """More than 0 while, or shortly after, another has written under our name."""
        self._is_due = asyncio.Event()
        self._draw = random.Random().uniform  # noqa: S311 - jitter

    @property
    def failures(self) -> Counter[StoreReason]:
        """Calls of the store that failed, by reason."""
        return self.registry.store.failures

    @property
    def trouble(self) -> StoreReason | None:
        """Why the store is degraded; None where it is not."""
        return self.registry.store.trouble

    def hasten(self) -> None:
        """What is true has changed: say it now."""
        self._is_due.set()

    @contextlib.asynccontextmanager
    async def beating(self) -> AsyncIterator[None]:
        """As long as the block."""
        try:
            async with beside(self._beat(), "no more heartbeats are written"):
                yield
        finally:
            await self.registry.store.close()

    async def _beat(self) -> None:
        while True:
            self._is_due.clear()
            with contextlib.suppress(StoreError):  # counted and told by the guard
                await self._write(self._make(time.time()))
            pause_s = PERIOD_S * self._draw(1 - JITTER, 1 + JITTER)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._is_due.wait()

    async def _write(self, beat: Beat) -> None:
        is_first = self.written == 0  # what is there may be of the daemon that was before this one
        self._ours.append(beat.value)
        before = await self.registry.write(self._kind, beat)
        self.written += 1
        if before and not is_first and before not in self._ours:
            if not self._foreign:
                logger.error(
                    "somebody else writes the heartbeats of %s host %s: give each host a name of its own",
                    self._kind.value,
                    beat.name.decode(),
                )
            self._foreign = QUIET_BEATS
        self._foreign = max(self._foreign - 1, 0)


def open_heartbeats(
    settings: StoreSettings | None,
    secrets: StoreSecrets | None,
    kind: HostKind,
    make: Callable[[float], Beat],
) -> Heartbeats | None:
    """For the store of a configuration; None without one."""
    if settings is None:
        return None
    return Heartbeats(open_guarded(settings, secrets, "heartbeats"), kind, make)


def own_name() -> str:
    """What the system calls this host, as a name of ours may be spelled."""
    return re.sub(r"[^A-Za-z0-9_.-]", "-", socket.gethostname())[:64] or "localhost"

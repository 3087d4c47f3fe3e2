"""A store behind a circuit breaker, with its failures counted and each change of its state logged once."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from core.store.base import Announcement, Entry, Place, Store, StoreError, StoreReason
from core.store.breaker import Breaker

logger = logging.getLogger(__name__)
T = TypeVar("T")

NOT_THE_STORE = frozenset({StoreReason.FULL, StoreReason.READ_ONLY})
"""Failures of writing that leave reading alone: the breaker stays closed."""


class GuardedStore:
    """See `core.store.base.Store`. `name` is what the log calls it."""

    def __init__(self, store: Store, breaker: Breaker, monotonic_ns: Callable[[], int], name: str) -> None:
        self._store = store
        self._breaker = breaker
        self._monotonic_ns = monotonic_ns
        self._name = name
        self.trouble: StoreReason | None = None
        """Why it is degraded; None where it is not."""
        self.failures: Counter[StoreReason] = Counter()
        """Calls that failed, since the start. Those that were not made, as the breaker was open, too."""
        self.on_change: Callable[[], None] = lambda: None
        """Called when `trouble` has changed."""

    @property
    def is_available(self) -> bool:
        """Whether a call would be made at all."""
        return self._breaker.is_ready(self._monotonic_ns())

    async def get_many(self, keys: Sequence[bytes]) -> list[bytes]:
        """See Store."""
        return await self._guard(lambda: self._store.get_many(keys), is_write=False)

    async def set_many(self, entries: Sequence[Entry]) -> None:
        """See Store."""
        await self._guard(lambda: self._store.set_many(entries))

    async def agree(self, key: bytes, proposal: bytes) -> bytes:
        """See Store."""
        return await self._guard(lambda: self._store.agree(key, proposal))

    async def announce(self, announcement: Announcement) -> bytes:
        """See Store."""
        return await self._guard(lambda: self._store.announce(announcement))

    async def listed(self, key: bytes, limit: int) -> list[bytes]:
        """See Store."""
        return await self._guard(lambda: self._store.listed(key, limit), is_write=False)

    async def places(self, key: bytes, longitude: float, latitude: float, limit: int) -> list[Place]:
        """See Store."""
        return await self._guard(lambda: self._store.places(key, longitude, latitude, limit), is_write=False)

    async def close(self) -> None:
        """See Store."""
        await self._store.close()

    async def _guard(self, call: Callable[[], Awaitable[T]], *, is_write: bool = True) -> T:
        if not self._breaker.admit(self._monotonic_ns()):
            self.failures[StoreReason.BREAKER_OPEN] += 1
            raise StoreError(StoreReason.BREAKER_OPEN, "it has failed before")
        is_told = False
        try:
            answer = await call()
            is_told = True
        except StoreError as error:
            is_told = True
            self._fail(error)
            raise
        finally:
            if not is_told:
                self._breaker.abandon()
        self._breaker.succeed()
        if is_write or self.trouble not in NOT_THE_STORE:
            self._tell(None, "")
        return answer

    def _fail(self, error: StoreError) -> None:
        self.failures[error.reason] += 1
        if error.reason in NOT_THE_STORE:
            self._breaker.succeed()
        else:
            self._breaker.fail(self._monotonic_ns())
        self._tell(error.reason, error.detail)

    def _tell(self, trouble: StoreReason | None, detail: str) -> None:
        """Once for each change; a store that fails in turns in two ways says so by the metric."""
        before, self.trouble = self.trouble, trouble
        if before is trouble:
            return
        if trouble is None:
            logger.info("the store is well again: %s", self._name)
        elif before is None:
            logger.warning("the store is degraded, calls go on: %s: %s (%s)", self._name, trouble, detail)
        self.on_change()

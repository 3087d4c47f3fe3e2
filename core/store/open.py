"""From the [store] table to a store. Here the clock and the dice come in."""

from __future__ import annotations

import random
import time

from core.config import StoreSettings
from core.store.base import Store
from core.store.breaker import Breaker, BreakerPolicy
from core.store.guarded import GuardedStore
from core.store.memory import MemoryStore
from core.store_url import StoreKind, StoreSecrets

MEMORY_KEYS = 1 << 17


def open_guarded(
    settings: StoreSettings | None,
    secrets: StoreSecrets | None = None,
    purpose: str | None = None,
) -> GuardedStore:
    """A store behind a breaker; in memory where there is no table. To be used on one event loop. The log
    tells of its `purpose`.
    """
    store: Store
    if settings is None or settings.url.kind is StoreKind.MEMORY:
        store, name = MemoryStore(MEMORY_KEYS, time.monotonic_ns), "memory"
    else:
        from core.store.redis import RedisAccess, RedisStore  # takes a tenth of a second: not for everyone

        password, ca_pem = secrets or StoreSecrets()
        access = RedisAccess(settings.timeout_ms / 1e3, settings.user, password, ca_pem)
        store, name = RedisStore(settings.url, access), str(settings.url)
    breaker = Breaker(BreakerPolicy(), random.Random().random)  # noqa: S311 - jitter
    called = name if purpose is None else f"{name}, for {purpose}"
    return GuardedStore(store, breaker, time.monotonic_ns, called)

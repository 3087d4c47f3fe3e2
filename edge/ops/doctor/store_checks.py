"""Whether the store can be used as it is configured, how soon it answers, and who is heard in it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

from core.config import StoreSettings
from core.errors import ConfigError
from core.service.files import load_config
from core.service.handover import load_store_secrets
from core.store.base import StoreError, StoreReason
from core.store.guarded import GuardedStore
from core.store.keys import EPOCH, HostKind
from core.store.open import open_guarded
from core.store.registry import Registry
from core.store_url import StoreSecrets
from edge.ops.doctor.checks import Check, Status, failed, note, ok

_FIXES = {
    StoreReason.UNREACHABLE: "start it, or mend store.url; with TLS, also store.ca_file",
    StoreReason.SLOW: "take one that is nearer, or raise store.timeout_ms",
    StoreReason.DENIED: "see the rights that docs/redis.md lists, store.user and store.password_file",
    StoreReason.FULL: "raise its maxmemory: docs/redis.md says what flows need",
    StoreReason.READ_ONLY: "name the primary, or its Sentinels: redis+sentinel://…",
    StoreReason.NOT_READY: "wait until it has loaded, or until its Cluster has all of its slots",
    StoreReason.UNSUPPORTED: "upgrade it, or give the commands that docs/redis.md lists their names back",
}


def check(config_path: Path) -> Iterator[Check]:
    """Two checks, of which the second stands on the first; none without a [store]. Raises ConfigError where
    the configuration cannot be used.
    """
    config = load_config(config_path)
    if config.store is None:
        return
    try:
        secrets = load_store_secrets(config, config_path)
    except ConfigError as error:
        yield failed("store", "; ".join(error.problems), "mend the file")
        return
    yield from asyncio.run(_look(config.store, secrets))


async def _look(settings: StoreSettings, secrets: StoreSecrets | None) -> list[Check]:
    store = open_guarded(settings, secrets)
    try:
        used = await _use(settings, store)
        return [used] if used.status is Status.FAILED else [used, await _hear(settings, store)]
    finally:
        await store.close()


async def _use(settings: StoreSettings, store: GuardedStore) -> Check:
    try:
        await store.get_many([EPOCH])
        began = time.monotonic()
        await store.agree(EPOCH, b"doctor")
        took_ms = (time.monotonic() - began) * 1e3
    except StoreError as error:
        fix = _FIXES.get(error.reason, "see its log")
        return failed("store", f"{settings.url}: {error}; calls go on, but flows do not outlive hosts", fix)
    told = f"{settings.url}: read and written in {took_ms:.1f} ms"
    if took_ms > settings.timeout_ms / 2:
        return note("store", told, f"store.timeout_ms is {settings.timeout_ms}: little room is left")
    return ok("store", told)


async def _hear(settings: StoreSettings, store: GuardedStore) -> Check:
    registry = Registry(store)
    try:
        pops, transceivers = [len(await registry.read(kind)) for kind in HostKind]
    except StoreError as error:
        fix = _FIXES.get(error.reason, "see its log")
        return failed("heartbeats", f"{settings.url}: {error}; PoPs are led to by their status alone", fix)
    told = f"of {pops} PoP hosts and {transceivers} transceiver hosts"
    if pops + transceivers:
        return ok("heartbeats", f"{told}; `voxpop pops` lists them")
    return note("heartbeats", told, "start a relay or a transceiver that has this [store]")

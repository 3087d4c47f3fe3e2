"""What a transceiver and its workers know of the configuration."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from core.addr import Endpoint, IpFamily
from core.cluster import Cluster
from core.config import HOST_FROM_ADDRESS, Config, PopSettings, QuotaSettings, TransceiverSettings
from core.errors import ConfigError, UnavailableError
from core.keyring import Keyring, Purpose
from core.schema import read_table
from core.service import handover
from core.service.handover import Loaded
from core.service.supervisor import Message
from core.store_url import StoreSecrets
from transceiver.backends.registry import ChosenBackend, choose
from transceiver.host.locations import Copy, LocationShelf, check_database
from transceiver.signaling.apikeys import ApiKeys, load_api_keys
from transceiver.signaling.ledger import SlotBook
from transceiver.signaling.pops import WIDEST
from transceiver.signaling.quota_plan import QuotaPlan, merged, plan_quotas

CARRIES = "carries"
"""From a worker: how many calls it has now, under `COUNT`."""
COUNT = "count"
OLDEST_NS = "oldest_ns"
"""When the oldest of them began, monotonic, which is the same clock in every process; null without any."""
KEY_QUOTAS = "key_quotas"
"""The key of settings for the quotas that keys have of their own."""
SLOTS = "key_slots"
"""The key of settings for where keys are counted, in the order of `api_keys`."""
LOCATIONS = "locations"
"""The key of settings for the copy of the database of locations: what a `Copy` has, or None."""
REGIONS = "regions"
"""The key, besides `POPS`, for the other regions that take calls."""
POPS = "pops"
"""To a worker: what is known of the PoPs. Also the key of that, there and in the settings."""

PURPOSES = (Purpose.TAG, Purpose.PASSWORD, Purpose.REFERRAL, Purpose.SESSION, Purpose.CLIENT_SECRET)
"""What a transceiver process has keys for: tokens and their passwords, and what it answers in JSON."""


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """A configuration as a worker knows it."""

    config: Config
    transceiver: TransceiverSettings
    keyring: Keyring
    api_keys: ApiKeys | None
    """None where the configuration says open."""
    slots: Mapping[str, int]
    """Of the ledger of quotas, by the name of the key."""
    backend: ChosenBackend
    locations: Copy | None
    """The database of locations, where there is one."""
    store_secrets: StoreSecrets | None

    @property
    def cluster(self) -> Cluster:
        """The cluster that this host is in."""
        return self.config.clusters[self.transceiver.cluster]

    @property
    def vips(self) -> tuple[Endpoint, ...]:
        """What answers name when all is well, in the order of the PoPs."""
        return self.vips_of(self.config.pops)

    def quota_plan(self, processes: int) -> QuotaPlan:
        """What each key may have of a host with so many processes."""
        quotas, own = self.config.quotas, {}
        for name, given in ({} if self.api_keys is None else self.api_keys.quotas).items():
            read = read_table(QuotaSettings, given, name, [])
            assert read is not None  # the supervisor has read it too
            own[name] = merged(quotas, read, given)
        return plan_quotas(quotas, own, self.slots, self.transceiver.max_sessions * processes)

    def vips_of(self, pops: Iterable[PopSettings]) -> tuple[Endpoint, ...]:
        """VIPs of families in which clients can be led here."""
        return tuple(
            vip
            for pop in pops
            for vip in pop.vips
            if self.cluster.address(self.transceiver.host, vip.family) is not None
        )


def anywhere(cluster: Cluster) -> int:
    """The number of a host that stands for all: a configuration is checked elsewhere than where it runs."""
    return 0


def load(
    path: Path,
    locate: Callable[[Cluster], int] = anywhere,
    shelf: LocationShelf | None = None,
    slots: SlotBook | None = None,
    *,
    ours: bool = False,
) -> Loaded[WorkerSettings]:
    """Read and check the configuration, the master keys, the API keys and the database of locations, which
    goes to `shelf`; without one all is merely checked. With `ours` all keys belong to root or to our user.
    Raises ConfigError.

    `locate` says which number `transceiver.host = "address"` is, or raises UnavailableError. `slots` keeps
    which key is counted where, over reloads.
    """

    def complete(document: Mapping[str, object], config: Config) -> Mapping[str, object]:
        own = config.transceiver
        if own is None or own.host != HOST_FROM_ADDRESS:
            return document
        table: Any = document["transceiver"]
        try:
            return {**document, "transceiver": {**table, "host": locate(config.clusters[own.cluster])}}
        except UnavailableError as error:
            raise ConfigError([f'{path}: transceiver.host = "address": {error}']) from None

    judge = partial(_judge, shelf, slots or SlotBook(), ours)
    loaded = handover.load(path, judge, decode, complete=complete, purposes=PURPOSES, ours=ours)
    settings = loaded.settings
    if not settings.vips:
        families = f"a family of cluster {settings.cluster.id}"
        raise ConfigError([f"{path}: no [[pop]] has a VIP in {families}, so no client could get in"])
    return loaded


def _judge(
    shelf: LocationShelf | None, slots: SlotBook, ours: bool, config: Config, path: Path
) -> Mapping[str, object]:
    transceiver = config.transceiver
    if transceiver is None:
        raise ConfigError([f"{path}: [transceiver] is missing; a transceiver needs that table"])
    _check_backends(config, transceiver, path)
    # With room for what will be known of the PoPs, so that settings that fit always will.
    more: dict[str, object] = {
        POPS: {
            pop.id: WIDEST.encode()
            for pop in config.pops
            if pop.status is not None or config.store is not None
        },
        REGIONS: transceiver.other_regions,
        LOCATIONS: _locations(shelf, transceiver, path),
    }
    if transceiver.open:
        return {"api_keys": None, KEY_QUOTAS: {}, SLOTS: [], **more}
    assert transceiver.api_keys_file is not None  # core.config asks for one of the two
    api_keys = load_api_keys(path.parent / transceiver.api_keys_file, ours=ours)
    own = {KEY_QUOTAS: api_keys.quotas, SLOTS: slots.assign(api_keys.digests)}
    return {"api_keys": api_keys.digests, **own, **more}


def _locations(shelf: LocationShelf | None, transceiver: TransceiverSettings, path: Path) -> object:
    if transceiver.location_database is None:
        return None
    file = path.parent / transceiver.location_database
    if shelf is None:
        check_database(file, file)
        return None
    return dataclasses.astuple(shelf.take(file))


def _check_backends(config: Config, transceiver: TransceiverSettings, path: Path) -> None:
    try:
        choose(transceiver.backend, config.backends)
    except ConfigError as error:
        raise ConfigError([f"{path}: {problem}" for problem in error.problems]) from None


def decode(message: Message) -> WorkerSettings:
    """What a worker does with the message."""
    config = handover.decode_config(message)
    assert config.transceiver is not None
    api_keys: Any = message["api_keys"]
    quotas: Any = message[KEY_QUOTAS]
    slots: Any = message[SLOTS]
    name = config.transceiver.backend
    own = {name: config.backends[name]} if name in config.backends else {}
    locations: Any = message[LOCATIONS]
    return WorkerSettings(
        config=config,
        transceiver=config.transceiver,
        keyring=handover.decode_keyring(message),
        api_keys=None if api_keys is None else ApiKeys(api_keys, quotas),
        slots=dict(zip(api_keys or (), slots, strict=True)),
        backend=choose(name, own),
        locations=None if locations is None else Copy(*locations),
        store_secrets=handover.decode_store_secrets(message),
    )


def listen_addresses(settings: WorkerSettings) -> list[str]:
    """Where the UDP sockets of this host are: `transceiver.listen`, or the host's place in its cluster."""
    if settings.transceiver.listen:
        return list(settings.transceiver.listen)
    places = (settings.cluster.address(settings.transceiver.host, family) for family in IpFamily)
    return [place for place in places if place is not None]

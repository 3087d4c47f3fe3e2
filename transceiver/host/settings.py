"""What the workers of a transceiver are told by their supervisor, at the start and after each reload.

It holds the keys, so it goes over the control socket only: a command line or an environment is readable
for others. Workers open no file of the operator's, so one that is half-edited cannot keep a worker that
died from coming back.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.addr import Endpoint, IpFamily
from core.cluster import Cluster
from core.config import Config, TransceiverSettings, parse
from core.errors import ConfigError
from core.keyring import Keyring
from core.service.files import keys_path, load_config, load_masters, load_toml
from core.service.supervisor import MESSAGE_BYTES, Message
from transceiver.backends.registry import ChosenBackend, choose
from transceiver.signaling.apikeys import ApiKeys, load_api_keys

SETTINGS = "settings"
DRAIN = "drain"
STOP = "stop"
DRAINED = "drained"
"""Types of messages: the first three to a worker, the last one from it."""


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """A configuration as a worker knows it."""

    config: Config
    transceiver: TransceiverSettings
    keyring: Keyring
    api_keys: ApiKeys | None
    """None where the configuration says open."""
    backend: ChosenBackend

    @property
    def cluster(self) -> Cluster:
        """The cluster that this host is in."""
        return self.config.clusters[self.transceiver.cluster]

    @property
    def vips(self) -> tuple[Endpoint, ...]:
        """What answers name, in the order of the PoPs: VIPs of families in which clients can be led here."""
        return tuple(
            vip
            for pop in self.config.pops
            for vip in pop.vips
            if self.cluster.address(self.transceiver.host, vip.family) is not None
        )


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration that passed every check, and what the workers are told of it."""

    settings: WorkerSettings
    message: Message


def load(path: Path) -> Loaded:
    """Read and check the configuration, the master keys and the API keys. Raises ConfigError."""
    config = load_config(path)
    if config.transceiver is None:
        raise ConfigError([f"{path}: [transceiver] is missing; a transceiver needs that table"])
    _check_backends(config, path)
    masters, mint_with = load_masters(keys_path(config, path))
    api_keys = None
    if not config.transceiver.open:
        assert config.transceiver.api_keys_file is not None  # core.config asks for one of the two
        api_keys = load_api_keys(path.parent / config.transceiver.api_keys_file)
    message = {
        "type": SETTINGS,
        "document": load_toml(path),
        "masters": {str(key_id): base64.b64encode(master).decode() for key_id, master in masters.items()},
        "mint_with": mint_with,
        "api_keys": None if api_keys is None else api_keys.digests,
        "is_draining": False,
    }
    if len(json.dumps(message)) > MESSAGE_BYTES:
        raise ConfigError([f"{path}: with its keys, this is more than a worker can be told; use fewer"])
    settings = decode(message)
    if not settings.vips:
        families = f"a family of cluster {settings.cluster.id}"
        raise ConfigError([f"{path}: no [[pop]] has a VIP in {families}, so no client could get in"])
    return Loaded(settings, message)


def _check_backends(config: Config, path: Path) -> None:
    assert config.transceiver is not None
    try:
        choose(config.transceiver.backend, config.backends)
    except ConfigError as error:
        raise ConfigError([f"{path}: {problem}" for problem in error.problems]) from None


def decode(message: Mapping[str, Any]) -> WorkerSettings:
    """What a worker does with the message."""
    config = parse(message["document"])
    assert config.transceiver is not None
    masters = {int(key_id): base64.b64decode(text) for key_id, text in message["masters"].items()}
    api_keys = message["api_keys"]
    name = config.transceiver.backend
    own = {name: config.backends[name]} if name in config.backends else {}
    return WorkerSettings(
        config=config,
        transceiver=config.transceiver,
        keyring=Keyring(masters, message["mint_with"]),
        api_keys=None if api_keys is None else ApiKeys(api_keys),
        backend=choose(name, own),
    )


def listen_addresses(settings: WorkerSettings) -> list[str]:
    """Where the UDP sockets of this host are: `transceiver.listen`, or the host's place in its cluster."""
    if settings.transceiver.listen:
        return list(settings.transceiver.listen)
    places = (settings.cluster.address(settings.transceiver.host, family) for family in IpFamily)
    return [place for place in places if place is not None]

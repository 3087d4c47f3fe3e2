"""What workers are told by their supervisor, at the start and whenever the operator changes it.

It holds the keys, so it goes over the control socket only: a command line or an environment is
readable for others.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any

from core.cluster import Cluster
from core.config import Config, DataplaneSettings, RelaySettings
from core.errors import ConfigError
from core.keyring import Keyring
from core.service.files import keys_path, load_config, load_masters
from core.service.supervisor import MESSAGE_BYTES, Message

SETTINGS = "settings"
DRAIN = "drain"


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """The part of the configuration that may change while a worker runs."""

    keyring: Keyring
    clusters: dict[int, Cluster]
    idle_timeout_s: float
    takeover_silence_s: float
    xdp: Mapping[str, Any] | None
    """What `XdpHost.message` says, where the fast path carries the flows."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration that passed every check, and what the workers are told of it."""

    relay: RelaySettings
    dataplane: DataplaneSettings | None
    message: Message
    key_ids: tuple[int, ...]
    cluster_ids: tuple[int, ...]


def load(path: Path) -> Loaded:
    """Read and check the configuration and the keys. Raises ConfigError with every problem."""
    config = load_config(path)
    problems = [] if config.relay is not None else [f"{path}: [relay] is missing"]
    if config.relay is not None:
        problems += [f"{path}: {problem}" for problem in _check(config.relay)]
    try:
        masters, mint_with = load_masters(keys_path(config, path))
    except ConfigError as error:
        raise ConfigError(problems + error.problems) from None
    if problems or config.relay is None:
        raise ConfigError(problems)
    message = _encode(config, config.relay, masters, mint_with)
    if len(json.dumps(message)) > MESSAGE_BYTES:
        raise ConfigError(
            [f"{path}: {len(config.clusters)} [[cluster]] tables are more than a worker can take"]
        )
    return Loaded(
        config.relay, config.dataplane, message, tuple(sorted(masters)), tuple(sorted(config.clusters))
    )


def _check(relay: RelaySettings) -> list[str]:
    problems = [
        f"relay.vips: {vip} is every address of this host, but a client must be answered from the "
        "address that it sent to: list the addresses"
        for vip in relay.vips
        if vip.is_wildcard
    ]
    if relay.workers > relay.max_flows:
        problems.append(
            f"relay.max_flows {relay.max_flows} leaves nothing for some of {relay.workers} workers"
        )
    return problems


def _encode(config: Config, relay: RelaySettings, masters: dict[int, bytes], mint_with: int) -> Message:
    return {
        "type": SETTINGS,
        "masters": {str(key_id): base64.b64encode(master).decode() for key_id, master in masters.items()},
        "mint_with": mint_with,
        "clusters": [
            [c.id, c.ipv4 and str(c.ipv4), c.ipv6 and str(c.ipv6), c.port_first, c.port_last]
            for c in config.clusters.values()
        ],
        "idle_timeout_s": relay.idle_timeout_s,
        "takeover_silence_s": relay.takeover_silence_s,
    }


def decode(message: Any) -> WorkerSettings:  # noqa: ANN401 - JSON of our own making
    """What a worker does with the message."""
    masters = {int(key_id): base64.b64decode(text) for key_id, text in message["masters"].items()}
    clusters = (
        Cluster(number, ipv4 and IPv4Network(ipv4), ipv6 and IPv6Network(ipv6), first, last)
        for number, ipv4, ipv6, first, last in message["clusters"]
    )
    return WorkerSettings(
        Keyring(masters, message["mint_with"]),
        {cluster.id: cluster for cluster in clusters},
        message["idle_timeout_s"],
        message["takeover_silence_s"],
        message.get("xdp"),
    )

"""What a relay and its workers know of the configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.config import Config, RelaySettings
from core.errors import ConfigError
from core.keyring import Keyring, Purpose
from core.service import handover
from core.service.handover import Loaded
from core.service.supervisor import Message
from core.store_url import StoreSecrets

XDP = "xdp"
"""The key of a message for what `XdpHost.message` says."""
XDP_ROOM_BYTES = 16384
"""That comes to at most 256 backbone addresses of 39 characters, 8 ids of VIPs, a path."""

PURPOSES = (Purpose.TAG, Purpose.PASSWORD, Purpose.RECORD)
"""What a relay worker has keys for: to open tokens, to check passwords, to sign records of flows."""


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """The configuration, and what the workers are told besides."""

    config: Config
    relay: RelaySettings
    keyring: Keyring
    store_secrets: StoreSecrets | None
    xdp: Mapping[str, Any] | None
    """What `XdpHost.message` says, where the fast path carries the flows."""


def load(path: Path, *, ours: bool = False) -> Loaded[WorkerSettings]:
    """Read and check the configuration and the keys, which with `ours` belong to root or to our user. Raises
    ConfigError with every problem.
    """
    return handover.load(path, _judge, decode, XDP_ROOM_BYTES, purposes=PURPOSES, ours=ours)


def _judge(config: Config, path: Path) -> Mapping[str, object]:
    relay = config.relay
    if relay is None:
        raise ConfigError([f"{path}: [relay] is missing"])
    problems = [
        f"{path}: relay.vips: {vip} is every address of this host, but a client must be answered from the "
        "address that it sent to: list the addresses"
        for vip in relay.vips
        if vip.is_wildcard
    ]
    if relay.workers > relay.max_flows:
        problems.append(
            f"{path}: relay.max_flows {relay.max_flows} leaves nothing for some of {relay.workers} workers"
        )
    if problems:
        raise ConfigError(problems)
    return {}


def decode(message: Message) -> WorkerSettings:
    """What a worker does with the message."""
    config = handover.decode_config(message)
    assert config.relay is not None
    xdp: Any = message.get(XDP)
    secrets = handover.decode_store_secrets(message)
    return WorkerSettings(config, config.relay, handover.decode_keyring(message), secrets, xdp)

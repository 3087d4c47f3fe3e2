"""The names of keys. The schema's number is in each, so that two versions never read each other's values."""

from __future__ import annotations

from enum import Enum

from core.addr import Endpoint

SCHEMA = 1
PREFIX = f"voxpop:{SCHEMA}:"
EPOCH = f"{PREFIX}epoch".encode()
"""What the first writer has made up. Where it is gone or another, so is all that was written before."""

POPS = f"{PREFIX}pops".encode()
"""A GEO set: where PoPs are, by their ids."""


class HostKind(Enum):
    """Whose heartbeats there are. A host is known by a name: `POP:HOST`, `CLUSTER:HOST:PORT`."""

    POP = "pop"
    TRANSCEIVER = "transceiver"

    @property
    def list_key(self) -> bytes:
        """Of the sorted set of their names, by when they were last written, Unix time."""
        return f"{PREFIX}{self.value}-hosts".encode()

    def heartbeat_key(self, name: bytes) -> bytes:
        """Of a host's heartbeat: `voxpop:1:pop:fra:fra-1`, `voxpop:1:transceiver:1:12:40000`."""
        return f"{PREFIX}{self.value}:".encode() + name


def flow_key(vip: Endpoint, client: Endpoint) -> bytes:
    """Of the record of a client address at a VIP: `voxpop:1:flow:192.0.2.1:3478:198.51.100.7:50000`."""
    return f"{PREFIX}flow:{vip}:{client}".encode()

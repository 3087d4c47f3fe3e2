"""The names of keys. The schema's number is in each, so that two versions never read each other's values."""

from __future__ import annotations

from core.addr import Endpoint

SCHEMA = 1
PREFIX = f"voxpop:{SCHEMA}:"
EPOCH = f"{PREFIX}epoch".encode()
"""What the first writer has made up. Where it is gone or another, so is all that was written before."""


def flow_key(vip: Endpoint, client: Endpoint) -> bytes:
    """Of the record of a client address at a VIP: `voxpop:1:flow:192.0.2.1:3478:198.51.100.7:50000`."""
    return f"{PREFIX}flow:{vip}:{client}".encode()

"""Cities that tests are in, and a database of addresses in them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmdb_writer import MMDBWriter
from netaddr import IPSet

from core.geo import Position

TOKYO = Position(35.6895, 139.6917)
OSAKA = Position(34.6937, 135.5023)
FRANKFURT = Position(50.1109, 8.6821)
AMSTERDAM = Position(52.3676, 4.9041)
NEW_YORK = Position(40.7128, -74.006)
SYDNEY = Position(-33.8688, 151.2093)

ADDRESSES = {
    "192.0.2.0/25": TOKYO,
    "198.51.100.0/24": FRANKFURT,
    "2001:db8:1::/48": TOKYO,
    "2001:db8:2::/48": NEW_YORK,
}
"""Documentation prefixes (RFC 5737, RFC 3849)."""


def record(position: Position) -> dict[str, Any]:
    """As GeoLite2-City has it, shortened."""
    return {
        "location": {"latitude": position.latitude, "longitude": position.longitude, "accuracy_radius": 5}
    }


def write_database(path: Path, records: Mapping[str, Any] | None = None, *, ip_version: int = 6) -> Path:
    """A file in MaxMind's format; by default with `ADDRESSES`, those of IPv4 alone in version 4."""
    if records is None:
        records = {
            network: record(at) for network, at in ADDRESSES.items() if ip_version == 6 or ":" not in network
        }
    writer = MMDBWriter(ip_version, "Test-City", ipv4_compatible=ip_version == 6)
    for network, content in records.items():
        writer.insert_network(IPSet([network]), content)
    writer.to_db_file(str(path))
    return path

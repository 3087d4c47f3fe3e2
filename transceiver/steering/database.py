"""Addresses in a database of MaxMind's format. The sole importer of maxminddb.

The reader is the library's own in Python, not its C extension: a damaged file then raises, whatever is wrong
with it, and a look-up of some 50 µs is nothing in the set-up of a call. It reads from a memory map, which all
processes of a host share.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import maxminddb
from maxminddb.reader import Reader

from core.errors import ConfigError, SteeringError
from core.geo import Position
from transceiver.steering.headers import EvidenceFault

RECORDS_TRIED = 10_000
"""In which there must be a place before a file is believed to have any."""
DAMAGE = (maxminddb.InvalidDatabaseError, ValueError, TypeError, KeyError, IndexError, RecursionError)
"""What the reader raises for one: it is careful in its data, and less so in its metadata."""


class LocationDatabase:
    """An open file."""

    def __init__(self, path: Path, called: Path | None = None) -> None:
        """Raises ConfigError where it is not what it should be; `called` is its name for the operator."""
        self._called = path if called is None else called
        try:
            self._reader = Reader(path, maxminddb.MODE_MMAP)
            metadata = self._reader.metadata()
            self.built_s = float(metadata.build_epoch)
            """Unix time."""
        except OSError as error:
            raise ConfigError([f"{self._called}: cannot be read: {error.strerror}"]) from None
        except DAMAGE:
            raise ConfigError(
                [
                    f"{self._called}: is no whole database in MaxMind's format (.mmdb): download it again, "
                    "and unpack it"
                ]
            ) from None
        self.has_ipv6: bool = metadata.ip_version == 6
        self.type = str(metadata.database_type)
        """Its maker's name for what is in it, such as GeoLite2-City."""

    def close(self) -> None:
        """Give the memory map back."""
        self._reader.close()

    def check(self) -> None:
        """Raises ConfigError where there are no places in it."""
        try:
            records = (record for _, record in itertools.islice(self._reader, RECORDS_TRIED))
            if any(_position(record) is not None for record in records):
                return
        except DAMAGE:
            raise ConfigError([f"{self._called}: is damaged: download it again"]) from None
        raise ConfigError(
            [f"{self._called}: {self.type} has no latitudes and longitudes: needed is a database of cities"]
        )

    def position_of(self, address: str) -> Position | None:
        """Where a canonical address is; None where that is not in the file. Raises SteeringError."""
        if ":" in address and not self.has_ipv6:
            return None
        try:
            return _position(self._reader.get(address))
        except DAMAGE:
            raise SteeringError(EvidenceFault.DATABASE_FAULT) from None


def _position(record: object) -> Position | None:
    """As GeoIP2, GeoLite2 and DB-IP have it: `location` with `latitude` and `longitude`."""
    location = record.get("location") if isinstance(record, dict) else None
    if not isinstance(location, dict):
        return None
    match location.get("latitude"), location.get("longitude"):
        case int() | float() as latitude, int() | float() as longitude:
            position = Position(float(latitude), float(longitude))
            return position if position.is_on_globe else None
    return None

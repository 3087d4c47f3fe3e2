"""The database of locations as the processes of a host have it: a copy in a folder that only we enter.

The operator's file may be written over while it is read, and a memory map of a file that gets shorter kills
the process. A copy does not change, and every process that is started later sees the same.
"""

from __future__ import annotations

import logging
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from core.errors import ConfigError
from core.service.exhausted import reason

logger = logging.getLogger(__name__)

OLD_AFTER_S = 60 * 86_400
"""Makers publish once a week at least; addresses move between countries within months."""
MAX_BYTES = 1 << 30
"""The largest of cities has some 150 MB."""


def check_database(path: Path, called: Path) -> float:
    """When a file was built, Unix time; what is merely odd goes to the log, under the name `called`. Raises
    ConfigError where there are no places in it.
    """
    from transceiver.steering.database import LocationDatabase  # only where there is one

    database = LocationDatabase(path, called)
    try:
        database.check()
        if not database.has_ipv6:
            logger.warning("%s has no IPv6 addresses: where clients with such are, it does not say", called)
        age_s = time.time() - database.built_s
        if age_s > OLD_AFTER_S:
            logger.warning("%s was built %d days ago: addresses have moved since", called, age_s / 86_400)
        return database.built_s
    finally:
        database.close()


@dataclass(frozen=True, slots=True)
class Copy:
    """A database that was found good."""

    name: str
    """Of its file, in the folder."""
    built_s: float
    """Unix time."""


class LocationShelf:
    """The copies of one host: that in use, and a newer one while a configuration is judged."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._copies: dict[object, Copy] = {}
        """By what the operator's file was when it was copied."""
        self._kept: str | None = None
        self._count = 0

    def take(self, source: Path) -> Copy:
        """A copy of `source`, checked; the one there is where the file is the same. Raises ConfigError."""
        try:
            status = source.stat()
        except OSError as error:
            raise ConfigError([f"{source}: cannot be read: {reason(error)}"]) from None
        identity = (source, status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size)
        if identity in self._copies:
            return self._copies[identity]
        if status.st_size > MAX_BYTES:
            raise ConfigError([f"{source}: has {status.st_size} bytes, more than any database of cities"])
        self._drop_but(self._kept)
        self._count += 1
        copied = self._folder / f"locations-{self._count}.mmdb"
        try:
            shutil.copyfile(source, copied)
            copy = Copy(copied.name, check_database(copied, source))
        except OSError as error:
            copied.unlink(missing_ok=True)
            raise ConfigError([f"{source}: cannot be copied to {copied}: {reason(error)}"]) from None
        except ConfigError:
            copied.unlink(missing_ok=True)
            raise
        self._copies[identity] = copy
        return copy

    def keep(self, name: str | None) -> None:
        """Use this one from now on; processes that still map another keep what they have."""
        self._kept = name
        self._drop_but(name)

    def _drop_but(self, name: str | None) -> None:
        for identity, copy in list(self._copies.items()):
            if copy.name != name:
                (self._folder / copy.name).unlink(missing_ok=True)
                del self._copies[identity]

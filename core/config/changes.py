"""What a daemon that runs does not take from a new configuration."""

from __future__ import annotations

from collections.abc import Iterable

from core.config.parse import Config
from core.schema import needs_restart


def restarts(daemon: str, tables: Iterable[str], started_as: Config, now: Config) -> list[str]:
    """What has changed since the start and takes a restart: dotted keys, or a table that came or went.

    `tables` are those that the daemon lives by, such as `("relay", "dataplane")`.
    """
    found = []
    for table in tables:
        old, new = getattr(started_as, table), getattr(now, table)
        if old is not None and new is not None:
            found += [f"{table}.{key}" for key in needs_restart(old, new, daemon)]
        elif old is not new:
            found.append(f"[{table}]")
    return found

"""Programs of the distribution that a planet runs, and which package has each."""

from __future__ import annotations

import shutil

from core.errors import UnavailableError

PACKAGES = {
    "bird": "bird2",
    "redis-server": "redis-server",
    "redis-cli": "redis-tools",
}
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Daemons are in sbin, which is not in everybody's PATH."""


def where(program: str) -> str | None:
    """Where it is; None where it is not installed."""
    return shutil.which(program) or shutil.which(program, path=_PATH)


def find(program: str) -> str:
    """Where one of `PACKAGES` is. Raises UnavailableError, which names the package to install."""
    found = where(program)
    if found is None:
        raise UnavailableError(f"a planet takes {program}: apt install {PACKAGES[program]}")
    return found

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


def find(program: str) -> str:
    """Where it is. Raises UnavailableError, which names the package to install."""
    found = shutil.which(program) or shutil.which(program, path=_PATH)
    if found is None:
        raise UnavailableError(f"a planet takes {program}: apt install {PACKAGES[program]}")
    return found

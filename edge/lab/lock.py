"""What making and removing a lab takes: rights, and to be the only one that does it."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator
from typing import TextIO

from core.errors import UnavailableError
from core.service import interrupt
from core.service.privileges import Capability, missing
from edge.lab.plan import DIRECTORY

LOCK_POLL_S = 0.05


def need_rights() -> None:
    """Raises UnavailableError without those that namespaces, mounts and interfaces take."""
    lacking = missing((Capability.NET_ADMIN, Capability.SYS_ADMIN))
    if lacking:
        raise UnavailableError(
            f"a lab is made of network namespaces, which takes root: {', '.join(lacking)} missing. "
            "Without it, `voxpop demo --no-lab` shows a call on loopback"
        )


@contextlib.contextmanager
def lock() -> Iterator[None]:
    """One at a time makes or removes labs."""
    DIRECTORY.parent.mkdir(exist_ok=True)
    DIRECTORY.mkdir(mode=0o700, exist_ok=True)
    with (DIRECTORY / ".lock").open("a") as file:
        while not _is_locked(file):
            interrupt.wait((), LOCK_POLL_S)
        yield


def _is_locked(file: TextIO) -> bool:
    """Tried only: who waits in flock does not hear of postponed signals."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True

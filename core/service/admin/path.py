"""Where the admin socket of a daemon is."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

USUAL_FOLDER = Path("/run/voxpop")
"""Made by `RuntimeDirectory=voxpop` of a systemd unit, or by whoever runs a daemon otherwise."""
DRAIN_PATH = "/drain"
"""HTTP: GET says how it is, PUT begins one, DELETE takes it back."""
EMERGENCY_PATH = "/emergency"
"""Of a relay with the fast path: GET says how it is, PUT {"mode": "on"}, "off" or "auto" sets it."""
MODE = "mode"
FOR_S = "for_s"
"""The member of a PUT's JSON that says for how long, in seconds; null is as the configuration says."""
MAX_FOR_S = 86_400.0
_ADDRESS_BYTES = 107
"""What `sockaddr_un` has room for (unix(7)), less the zero at the end."""


def admin_path(daemon: str, configured: str | None, config_path: Path) -> Path:
    """`configured` is the daemon's `admin_socket`; relative paths are counted from the configuration file."""
    return USUAL_FOLDER / f"{daemon}.sock" if configured is None else config_path.parent / configured


@contextlib.contextmanager
def address(path: Path) -> Iterator[str]:
    """How to bind or connect to a socket at a path of any length. Raises OSError without its directory."""
    name = os.fspath(path)
    if len(os.fsencode(name)) <= _ADDRESS_BYTES:
        yield name
        return
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)

"""Where the admin socket of a daemon is."""

from __future__ import annotations

from pathlib import Path

USUAL_FOLDER = Path("/run/voxpop")
"""Made by `RuntimeDirectory=voxpop` of a systemd unit, or by whoever runs a daemon otherwise."""
DRAIN_PATH = "/drain"
"""HTTP: GET says how it is, PUT begins one, DELETE takes it back."""
FOR_S = "for_s"
"""The member of a PUT's JSON that says for how long, in seconds; null is as the configuration says."""
MAX_FOR_S = 86_400.0


def admin_path(daemon: str, configured: str | None, config_path: Path) -> Path:
    """`configured` is the daemon's `admin_socket`; relative paths are counted from the configuration file."""
    return USUAL_FOLDER / f"{daemon}.sock" if configured is None else config_path.parent / configured

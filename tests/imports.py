"""What comes into a process with a module or a command: what it costs to start, in time and memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HEAVY = {
    "aiohttp", "aioice", "aiortc", "asyncio", "av", "bcc", "cryptography", "numpy", "OpenSSL",
    "prometheus_client", "pylibsrtp", "pyroute2", "soxr", "uvloop", "webrtcvad",
}  # fmt: skip
"""Each takes a twentieth of a second or several megabytes, or brings what does."""


def heavy_imports(*modules: str) -> set[str]:
    """What of `HEAVY` a process has that has imported these."""
    script = f"import sys, {', '.join(modules)}; print(*sys.modules)"
    return HEAVY & set(_run("-c", script).stdout.split())


def heavy_imports_of_command(*command: str | Path) -> set[str]:
    """The same of one that has run a `voxpop` command to its end, which must not fail."""
    times = _run("-X", "importtime", "-m", "voxpop", *map(str, command)).stderr
    return HEAVY & {line.rpartition("|")[2].strip() for line in times.splitlines()}


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], check=True, capture_output=True, text=True)

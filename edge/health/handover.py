"""A checker that becomes the installed version of itself, while what it announces by stays (decision 535).

`execve` puts another program into the same process, and with the process stays the file of the interface. So
nothing is withdrawn by an upgrade, and nothing outlives a checker either: the file is closed when the process
ends, also while the new program starts, and a timer of the kernel ends one that does not come to its first
check.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

from core.service import launch
from core.service.notify import notify
from ebpf.errors import DataplaneError
from ebpf.net import tun
from edge.health.deadman import Deadman

VARIABLE = "VOXPOP_ANNOUNCE_FILE"
"""The number of the file of the interface, for the program that comes after."""
WATCHDOG_VARIABLE = "WATCHDOG_USEC"
START_S = 30.0
"""How long the new program may take to its first check, at the least."""
MAX_SAID = 300


@dataclass(frozen=True, slots=True)
class Program:
    """What comes after: the same command line, by the path that it was started by."""

    command: tuple[str, ...]
    """Without its arguments."""
    arguments: tuple[str, ...]
    config: Path

    @classmethod
    def of_this_process(cls, config: Path) -> Program:
        """A script of a venv has the interpreter in its first line, so the path leads to both."""
        script = sys.argv[0]
        command = (script,) if os.access(script, os.X_OK) else (sys.executable, script)
        return cls(command, tuple(sys.argv[1:]), config)

    async def fault(self) -> str | None:
        """Why it could not start here, found out by having it read the configuration; None: it could."""
        try:
            process = await asyncio.create_subprocess_exec(
                *self.command, "config", "check", str(self.config),
                env=launch.environment(),
                stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
            )  # fmt: skip
        except OSError as error:
            return f"{self.command[0]}: {error.strerror}"
        _, said = await process.communicate()
        if process.returncode == 0:
            return None
        return said.decode(errors="replace").strip()[-MAX_SAID:] or f"exit status {process.returncode}"

    def become(self, file: int | None, borne_s: float = 0.0) -> None:
        """Go on as this program, with the file of the interface if it is there; `borne_s` is how long a relay
        may be silent, and so this. Raises OSError where that cannot be; then all is as before, but for more
        time until the next check.
        """
        environment = dict(os.environ)
        if file is not None:
            os.set_inheritable(file, True)
            environment[VARIABLE] = str(file)
        start_s = max(START_S, borne_s)
        Deadman(start_s).hold()
        if WATCHDOG_VARIABLE in environment:
            notify(f"{WATCHDOG_VARIABLE}={int(start_s * 1e6)}")
        # Until the new program has its own handler, a second one is not to end it.
        before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
        try:
            os.execve(self.command[0], (*self.command, *self.arguments), environment)  # noqa: S606 - our own
        finally:
            signal.signal(signal.SIGHUP, before)
            if file is not None:
                os.set_inheritable(file, False)


def taken(interface: str) -> int | None:
    """The file of the interface that the program before has left to us, open. Once."""
    if (usual := os.environ.get(WATCHDOG_VARIABLE)) is not None:
        notify(f"{WATCHDOG_VARIABLE}={usual}")
    left = os.environ.pop(VARIABLE, "")
    if not left.isdecimal():
        return None
    file = int(left)
    try:
        name = tun.name_of(file)
    except DataplaneError:
        return None
    os.set_inheritable(file, False)
    if name != interface:
        os.close(file)  # announce.interface is another now
        return None
    return file

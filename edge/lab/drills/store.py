"""A real redis-server for a lab, on a Unix socket: namespaces of networks do not part who shares a file."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from core.errors import UnavailableError
from core.service import launch, process
from core.service.process import Child
from edge.lab.planet.speaker import until

SERVER, CLI = "redis-server", "redis-cli"
COMMAND_TIMEOUT_S = 30.0
"""Longer than any drill lets it stand still."""


class Store:
    """One server in a directory of its own; it keeps nothing. Methods raise UnavailableError."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._socket = directory / "redis.sock"
        self._child: Child | None = None

    @property
    def url(self) -> str:
        """As `store.url` has it."""
        return f"unix://{self._socket}"

    def start(self) -> None:
        """Start it, empty; waits until it answers."""
        program = shutil.which(SERVER)
        if program is None:
            raise UnavailableError(f"{SERVER} is not installed")
        options = {
            "port": "0",
            "unixsocket": str(self._socket),
            "dir": str(self._directory),
            "save": "",
            "appendonly": "no",
        }
        words = [word for name, value in options.items() for word in (f"--{name}", value)]
        log = self._directory / "redis.log"
        with log.open("ab") as output:
            popen = subprocess.Popen(
                [program, *words],
                env=launch.environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        self._child = Child(SERVER, popen, log)
        until(self.answers, f"{SERVER} answers")

    def kill(self) -> None:
        """SIGKILL, and wait. Idempotent."""
        if self._child is not None:
            self._child.popen.kill()
            self._child.popen.wait()
            self._child = None

    def answers(self) -> bool:
        """Whether it does."""
        return self._cli("PING").stdout.startswith("PONG")

    def pause(self, ms: int) -> None:
        """CLIENT PAUSE: it stands still for so long."""
        self.command("CLIENT", "PAUSE", str(ms))

    def command(self, *words: str) -> str:
        """What `redis-cli` prints; waits while the server stands still."""
        done = self._cli(*words)
        if done.returncode != 0 or done.stdout.startswith("ERR"):
            raise UnavailableError(f"{' '.join(words)}: {done.stdout}{done.stderr}")
        return done.stdout.strip()

    def _cli(self, *words: str) -> subprocess.CompletedProcess[str]:
        try:
            return subprocess.run(
                [shutil.which(CLI) or CLI, "-s", self._socket, *words],
                env=launch.environment(),
                capture_output=True,
                text=True,
                timeout=COMMAND_TIMEOUT_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise UnavailableError(f"{CLI}: {error}") from None

    @property
    def children(self) -> list[Child]:
        """The server, while it is there."""
        return [] if self._child is None else [self._child]


@contextlib.contextmanager
def running(directory: Path) -> Iterator[Store]:
    """A store that is there until the end of the block, if it is not killed before."""
    store = Store(directory)
    try:
        store.start()
        yield store
    finally:
        for child in store.children:
            process.end(child, timeout_s=1.0)

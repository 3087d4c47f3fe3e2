"""Real servers for tests: Redis, or Valkey where it is installed, each in a folder of its own."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.ports import free_tcp_port

PATIENCE_S = 10.0
SERVERS = tuple(name for name in ("redis-server", "valkey-server") if shutil.which(name))
"""Those that this machine has."""
DEFAULT = os.environ.get("VOXPOP_TEST_STORE", "redis-server")
"""What tests run against that are not for each of them: `VOXPOP_TEST_STORE=valkey-server pytest …`."""


@dataclass
class Server:
    """One process, and how to reach it."""

    folder: Path
    options: Sequence[str] = ()
    program: str = DEFAULT
    port: int = field(default_factory=free_tcp_port)
    mode: Sequence[str] = ()
    """Such as `--sentinel`, which needs its configuration in a file that it can write to."""
    process: subprocess.Popen[bytes] | None = None

    @property
    def path(self) -> Path:
        """Of its Unix socket."""
        return self.folder / "socket"

    @property
    def url(self) -> str:
        """By TCP."""
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start, and return when it answers."""
        self.folder.mkdir(exist_ok=True)
        assert self.process is None
        log = (self.folder / "log").open("ab")
        with log:
            self.process = subprocess.Popen(self._command(), stdout=log, stderr=log, cwd=self.folder)
        deadline = time.monotonic() + PATIENCE_S
        while not self._answers():
            assert self.process.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < deadline, f"{self.program} does not answer"
            time.sleep(0.01)

    def _command(self) -> list[str]:
        common = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
        if self.mode:
            config = self.folder / "config"
            config.touch()
            return [self.program, str(config), *self.mode, *common, *self.options]
        plain = ["--save", "", "--appendonly", "no", "--unixsocket", str(self.path)]
        return [self.program, *common, *plain, *self.options]

    def _answers(self) -> bool:
        if "--tls-port" in self.options:
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", self._tls_port())) == 0
        answer = self.cli("PING", check=False)
        return "PONG" in answer or "NOAUTH" in answer

    def _tls_port(self) -> int:
        return int(self.options[list(self.options).index("--tls-port") + 1])

    def cli(self, *words: str, check: bool = True) -> str:
        """What redis-cli prints."""
        # By the Unix socket where there is one: that is also reached from another network namespace.
        where = ["-s", str(self.path)] if self.path.exists() else ["-h", "127.0.0.1", "-p", str(self.port)]
        command = ["redis-cli", *where, *words]
        result = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
        assert not check or result.returncode == 0, result.stdout + result.stderr
        return (result.stdout + result.stderr).strip()

    def lock(self) -> None:
        """Ask for a password from now on, which connections that are in have to give too: they are closed."""
        self.cli("CONFIG", "SET", "requirepass", "another")
        self.cli("-a", "another", "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

    def restart(self, *options: str) -> None:
        """Empty, with those options alone."""
        self.stop()
        self.options = options
        self.start()

    def stop(self) -> None:
        """End it at once. Idempotent."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.path.unlink(missing_ok=True)
            self.process = None


@contextlib.contextmanager
def running(server: Server) -> Iterator[Server]:
    """A server that answers, for as long as the block."""
    try:
        server.start()
        yield server
    finally:
        server.stop()

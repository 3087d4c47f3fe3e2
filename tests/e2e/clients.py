"""What docs/clients.md says that each of its examples wants: a server with a key, in two variables."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.kit import metric, running
from tests.processes import output_of
from transceiver.demo.host import LocalHost
from transceiver.signaling.apikeys import create_api_key

PAGE = "docs/clients.md"
API_KEYS = "api-keys.toml"
PATIENCE_S = 60


@dataclass(frozen=True, slots=True)
class Server:
    """A relay and a transceiver, and the folder in which clients run."""

    host: LocalHost
    key: str
    folder: Path

    @property
    def url(self) -> str:
        """Without a path."""
        return self.host.plan.url

    @property
    def environment(self) -> dict[str, str]:
        """Of a client."""
        return {**os.environ, "VOXPOP_URL": self.url, "VOXPOP_KEY": self.key}

    def filled_in(self, code: str) -> str:
        """Code that has no environment, with this server in place of the variables."""
        return code.replace("VOXPOP_URL", self.url).replace("VOXPOP_KEY", self.key)

    async def run(self, *command: str | Path) -> str:
        """A client to its end, which has to be a good one; what it has printed."""
        return await output_of(
            *command, cwd=self.folder, env=self.environment, timeout_s=PATIENCE_S, stderr=subprocess.STDOUT
        )

    async def ended(self, reason: str) -> float:
        """How many calls have ended so."""
        name = "voxpop_transceiver_sessions_ended_total"
        return await metric(self.host.plan.transceiver_metrics, name, reason=reason)


@asynccontextmanager
async def serving(folder: Path, **settings: object) -> AsyncIterator[Server]:
    """A server of one process with an API key; its files are in `folder`, with one for clients."""
    key = create_api_key(folder / API_KEYS, "shop")
    settings = {"open": False, "api_keys_file": API_KEYS, **settings}
    clients = folder / "clients"
    await asyncio.to_thread(clients.mkdir)
    async with running(folder, transceiver=settings, processes=1) as host:
        yield Server(host, key, clients)


@asynccontextmanager
async def application(
    server: Server, program: str, port: int
) -> AsyncIterator[tuple[str, asyncio.StreamReader]]:
    """A program of docs/clients.md that serves a page, in the folder of clients; its URL, what it prints."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        program,
        cwd=server.folder,
        env={**server.environment, "PORT": str(port)},
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(PATIENCE_S):
            assert str(port).encode() in await process.stdout.readline()
        yield f"http://127.0.0.1:{port}", process.stdout
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGINT)
        await process.wait()

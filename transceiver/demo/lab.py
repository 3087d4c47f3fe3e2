"""The demo's lab: `voxpop lab up` in a process of its own, which takes everything apart when it ends.

The client is this machine itself, so that its browsers can call through the fast path too.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import UnavailableError
from core.service import launch, process
from core.service.process import Child

START_TIMEOUT_S = 90.0
STOP_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Traffic:
    """Packets by what the fast path did with them."""

    upstream: int
    downstream: int
    punted: int
    """Passed up to the relay."""
    dropped: int

    def __sub__(self, other: Traffic) -> Traffic:
        """What came since."""
        return Traffic(
            self.upstream - other.upstream,
            self.downstream - other.downstream,
            self.punted - other.punted,
            self.dropped - other.dropped,
        )

    def __str__(self) -> str:
        """A sentence for people."""
        total = self.upstream + self.downstream + self.punted + self.dropped
        carried = self.upstream + self.downstream
        share = carried / total if total else 0.0
        return (
            f"carried {carried} of {total} packets ({share:.1%}): {self.upstream} to the transceiver, "
            f"{self.downstream} back; the relay saw {self.punted}, {self.dropped} dropped"
        )


class Lab:
    """A lab with everything running, from `start` to `stop`."""

    def __init__(self, port: int) -> None:
        """`port` is the page's, if it is free."""
        self._name = f"demo-{os.getpid()}"
        self._port = port
        self._folder = tempfile.TemporaryDirectory(prefix="voxpop-demo-")
        self._child: Child | None = None
        self.url = ""
        self.vips: list[str] = []
        self.namespaces: list[str] = []
        self._config = ""

    async def start(self) -> None:
        """Make it. Raises UnavailableError, and nothing stays."""
        command = ["voxpop", "lab", "up", "--name", self._name, "--client", "host"]
        options = ["--http-port", str(self._port), "--start", "--foreground", "--json"]
        log = Path(self._folder.name) / "lab.log"
        self._child = process.spawn(
            "lab", [*command, *options], log, stdout=subprocess.PIPE, ends_with_us=True
        )
        status = await asyncio.to_thread(process.first_line, self._child, START_TIMEOUT_S)
        if not status:
            raise UnavailableError(await self.ended())
        self._learn(json.loads(status))

    def _learn(self, status: dict[str, Any]) -> None:
        self.url, self.vips, self._config = status["url"], status["vips"], status["config"]
        self.namespaces = [place["namespace"] for place in status["places"] if place["namespace"]]

    async def traffic(self) -> Traffic:
        """All packets since the start. Raises UnavailableError."""
        process = await asyncio.create_subprocess_exec(
            *launch.module("voxpop", "stats", "--json", "--config", self._config),
            env=launch.environment(),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        told, complaint = await process.communicate()
        if process.returncode != 0:
            raise UnavailableError(complaint.decode(errors="replace").strip())
        rows = json.loads(told)["counters"]

        def count(prefix: str) -> int:
            return sum(row["packets"] for row in rows if row["verdict"].startswith(prefix))

        return Traffic(count("forward_up"), count("forward_down"), count("punt_"), count("drop_"))

    async def ended(self) -> str:
        """Wait until it ends by itself; why it did."""
        assert self._child is not None
        await asyncio.to_thread(process.ended, [self._child])
        return self._child.text().strip().removeprefix("voxpop: ")

    async def stop(self) -> None:
        """Take it apart. Idempotent."""
        child, self._child = self._child, None
        if child is not None:
            await asyncio.to_thread(process.end, child, signal.SIGTERM, STOP_TIMEOUT_S)
            assert child.popen.stdout is not None
            child.popen.stdout.close()
        self._folder.cleanup()

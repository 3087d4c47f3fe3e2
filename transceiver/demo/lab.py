"""The demo's lab: `voxpop lab up` in a process of its own, which takes everything apart when it ends.

The client is this machine itself, so that its browsers can call through the fast path too.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from dataclasses import dataclass
from typing import Any

from core.errors import UnavailableError
from transceiver.demo.host import dies_with_us

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
        self._process: asyncio.subprocess.Process | None = None
        self.url = ""
        self.vips: list[str] = []
        self.namespaces: list[str] = []
        self._config = ""

    async def start(self) -> None:
        """Make it. Raises UnavailableError, and nothing stays."""
        self._process = await asyncio.create_subprocess_exec(
            *dies_with_us(),
            *_voxpop("lab", "up", "--name", self._name, "--client", "host", "--http-port", str(self._port)),
            *("--start", "--foreground", "--json"),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for us to act on
        )
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                status = await self._process.stdout.readline()
        except TimeoutError:
            raise UnavailableError(f"the lab was not up within {START_TIMEOUT_S:g} s") from None
        if not status:
            raise UnavailableError(await self.ended())
        self._learn(json.loads(status))

    def _learn(self, status: dict[str, Any]) -> None:
        self.url, self.vips, self._config = status["url"], status["vips"], status["config"]
        self.namespaces = [place["namespace"] for place in status["places"] if place["namespace"]]

    async def traffic(self) -> Traffic:
        """All packets since the start. Raises UnavailableError."""
        process = await asyncio.create_subprocess_exec(
            *_voxpop("stats", "--json", "--config", self._config),
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
        assert self._process is not None
        _, complaint = await self._process.communicate()
        return complaint.decode(errors="replace").strip().removeprefix("voxpop: ")

    async def stop(self) -> None:
        """Take it apart. Idempotent."""
        process, self._process = self._process, None
        if process is None or process.returncode is not None:
            return
        process.terminate()
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await process.communicate()
        except TimeoutError:
            process.kill()
            await process.wait()


def _voxpop(*words: str) -> tuple[str, ...]:
    return sys.executable, "-m", "voxpop", *words

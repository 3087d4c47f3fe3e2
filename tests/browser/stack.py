"""A relay and a transceiver as an operator runs them: real processes, one configuration file."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

ROOT = Path(__file__).parents[2]
READY_TIMEOUT_S = 60
STOP_TIMEOUT_S = 20

CONFIGURATION = """\
[token]
keys_file = "keys.toml"

[[cluster]]
id = 1
ipv4 = "127.0.0.1/32"
ports = [{udp}, {udp}]

[[pop]]
id = "test"
vips = ["127.0.0.1:{public}"]
status = "127.0.0.1:{relay_metrics}"

[relay]
pop = "test"
vips = ["127.0.0.1:{vip}"]
forwarder = "userspace"
workers = 2
metrics = "127.0.0.1:{relay_metrics}"

[transceiver]
cluster = 1
host = 0
http = "127.0.0.1:{http}"
processes = 1
open = true
page = true
metrics = "127.0.0.1:{transceiver_metrics}"
"""


@dataclass(frozen=True, slots=True)
class Stack:
    """Where things are."""

    vip: int
    http: int
    relay_metrics: int
    transceiver_metrics: int

    @property
    def page(self) -> str:
        """The demo page."""
        return f"http://127.0.0.1:{self.http}/"


@asynccontextmanager
async def stack(folder: Path, public: int | None = None) -> AsyncIterator[Stack]:
    """Started and ready. Answers name the UDP port `public`, by default the relay's own."""
    vip, udp = free_ports(socket.SOCK_DGRAM, 2)
    http, relay_metrics, transceiver_metrics = free_ports(socket.SOCK_STREAM, 3)
    config = folder / "voxpop.toml"
    config.write_text(
        CONFIGURATION.format(
            udp=udp,
            public=public or vip,
            vip=vip,
            http=http,
            relay_metrics=relay_metrics,
            transceiver_metrics=transceiver_metrics,
        )
    )
    made = await _voxpop(folder, "keys", "new", str(folder / "keys.toml"))
    assert await made.wait() == 0
    started = [await _voxpop(folder, part, "--config", str(config)) for part in ("relay", "transceiver")]
    try:
        await _ready(started[0], f"http://127.0.0.1:{relay_metrics}/readyz", folder)
        await _ready(started[1], f"http://127.0.0.1:{http}/readyz", folder)
        yield Stack(vip, http, relay_metrics, transceiver_metrics)
    finally:
        await asyncio.gather(*(_stop(process) for process in started))


def free_ports(kind: socket.SocketKind, count: int) -> list[int]:
    """Ports that nobody has at the moment."""
    held = [socket.socket(socket.AF_INET, kind) for _ in range(count)]
    try:
        for each in held:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in held]
    finally:
        for each in held:
            each.close()


async def _voxpop(folder: Path, *arguments: str) -> asyncio.subprocess.Process:
    with (folder / f"{arguments[0]}.log").open("ab") as log:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "voxpop",
            *arguments,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )


async def _ready(process: asyncio.subprocess.Process, url: str, folder: Path) -> None:
    async with asyncio.timeout(READY_TIMEOUT_S), aiohttp.ClientSession() as client:
        while process.returncode is None:
            try:
                async with client.get(url) as response:
                    if response.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.1)
    raise AssertionError(f"not ready at {url}:\n{_logs(folder)}")


def _logs(folder: Path) -> str:
    return "\n".join(file.read_text() for file in folder.glob("*.log"))


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    process.send_signal(signal.SIGINT)
    try:
        async with asyncio.timeout(STOP_TIMEOUT_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
        raise

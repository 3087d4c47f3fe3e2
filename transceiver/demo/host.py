"""A PoP and a cluster of one host on loopback: configuration, keys and processes in a private directory."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from core.addr import Endpoint, IpFamily, family_of
from core.errors import UnavailableError
from core.service import keysfile

READY_TIMEOUT_S = 30.0
READY_POLL_S = 0.05
STOP_TIMEOUT_S = 10.0
LOG_LINES_SHOWN = 12
POP_ID = "demo"
KEYS_FILE = "keys.toml"
CONFIG_FILE = "voxpop.toml"
LOOPBACK, LOOPBACK_6 = "127.0.0.1", "::1"


@dataclass(frozen=True, slots=True)
class HostPlan:
    """Addresses of everything."""

    vips: tuple[Endpoint, ...]
    http: Endpoint
    relay_metrics: Endpoint
    transceiver_metrics: Endpoint
    ports: tuple[int, int]
    """First and last UDP port of the transceiver's processes."""
    workers: int = 2
    relay_settings: Mapping[str, object] = field(default_factory=dict)
    transceiver_settings: Mapping[str, object] = field(default_factory=dict)
    """What differs from the usual, by the names of the configuration."""

    @property
    def processes(self) -> int:
        """Transceiver processes, a UDP port each."""
        return self.ports[1] - self.ports[0] + 1

    @property
    def url(self) -> str:
        """Where to call, and where the page is."""
        return f"http://{self.http}"

    def config(self) -> str:
        """The TOML of this host."""
        vips = [str(vip) for vip in self.vips]
        cluster: dict[str, object] = {"id": 1, "ipv4": f"{LOOPBACK}/32", "ports": self.ports}
        if any(vip.family is IpFamily.V6 for vip in self.vips):
            cluster["ipv6"] = f"{LOOPBACK_6}/128"
        relay = {
            "pop": POP_ID,
            "vips": vips,
            "forwarder": "userspace",
            "workers": self.workers,
            "metrics": str(self.relay_metrics),
        }
        transceiver = {
            "cluster": 1,
            "host": 0,
            "http": str(self.http),
            "processes": self.processes,
            "open": True,
            "page": True,
            "metrics": str(self.transceiver_metrics),
        }
        return "\n".join(
            [
                _table("[token]", {"keys_file": KEYS_FILE}),
                _table("[[cluster]]", cluster),
                _table("[[pop]]", {"id": POP_ID, "vips": vips, "status": str(self.relay_metrics)}),
                _table("[relay]", relay | dict(self.relay_settings)),
                _table("[transceiver]", transceiver | dict(self.transceiver_settings)),
            ]
        )


def _table(header: str, values: Mapping[str, object]) -> str:
    """TOML writes texts, numbers, booleans and lists of them as JSON does."""
    return "\n".join([header, *(f"{key} = {json.dumps(value)}" for key, value in values.items()), ""])


def plan_host(
    http_port: int = 0,
    processes: int = 2,
    workers: int = 2,
    relay_settings: Mapping[str, object] | None = None,
    transceiver_settings: Mapping[str, object] | None = None,
) -> HostPlan:
    """Find free ports; `http_port` is taken when it is free, 0 is any. Raises UnavailableError."""
    families = [LOOPBACK, LOOPBACK_6] if _has_ipv6() else [LOOPBACK]
    with ExitStack() as held:
        vip_port = _hold_run(held, families, 1)
        first = _hold_run(held, families, processes)
        relay_metrics, transceiver_metrics = (_hold_tcp(held, 0) for _ in range(2))
        try:
            http = _hold_tcp(held, http_port)
        except OSError:
            http = _hold_tcp(held, 0)
    return HostPlan(
        vips=tuple(Endpoint(host, vip_port) for host in families),
        http=http,
        relay_metrics=relay_metrics,
        transceiver_metrics=transceiver_metrics,
        ports=(first, first + processes - 1),
        workers=workers,
        relay_settings=relay_settings or {},
        transceiver_settings=transceiver_settings or {},
    )


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind((LOOPBACK_6, 0))
    except OSError:
        return False
    return True


def _hold_run(held: ExitStack, hosts: Sequence[str], length: int) -> int:
    """Hold `length` consecutive UDP ports on all hosts until `held` ends; the first of them."""
    for _ in range(100):
        with ExitStack() as attempt:
            first = _hold_udp(attempt, hosts[0], 0)
            try:
                for host in hosts:
                    for port in range(first, first + length):
                        if (host, port) != (hosts[0], first):
                            _hold_udp(attempt, host, port)
            except (OSError, OverflowError):
                continue
            held.push(attempt.pop_all())
            return first
    raise UnavailableError(f"no {length} consecutive UDP ports are free on loopback")


def _hold_udp(held: ExitStack, host: str, port: int) -> int:
    holder = held.enter_context(socket.socket(family_of(host).af, socket.SOCK_DGRAM))
    holder.bind((host, port))
    return int(holder.getsockname()[1])


def _hold_tcp(held: ExitStack, port: int) -> Endpoint:
    holder = held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind((LOOPBACK, port))
    return Endpoint(*holder.getsockname())


class Daemon:
    """One `voxpop` process and its log."""

    def __init__(self, verb: str, folder: Path, ready_url: str, verbose: bool) -> None:
        self.verb = verb
        self._folder = folder
        self._ready_url = ready_url
        self._verbose = verbose
        self.log = folder / f"{verb}.log"
        self.process: asyncio.subprocess.Process | None = None

    async def start(self) -> float:
        """Start it and wait until it is ready; the seconds that took. Raises UnavailableError."""
        began = time.monotonic()
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *dies_with_us(),
                *(sys.executable, "-m", "voxpop", self.verb, "--config", str(self._folder / CONFIG_FILE)),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=None if self._verbose else log,
                stderr=None if self._verbose else log,
                start_new_session=True,  # Ctrl-C is for us to act on
            )
        await self._until_ready(self.process, began + READY_TIMEOUT_S)
        return time.monotonic() - began

    async def _until_ready(self, process: asyncio.subprocess.Process, deadline: float) -> None:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2.0)) as http:
            while time.monotonic() < deadline:
                if process.returncode is not None:
                    raise UnavailableError(
                        f"{self.verb} ended with status {process.returncode}:\n{self.tail()}"
                    )
                try:
                    async with http.get(self._ready_url) as response:
                        if response.status == 200:
                            return
                except (aiohttp.ClientError, TimeoutError):
                    pass  # not listening yet
                await asyncio.sleep(READY_POLL_S)
        raise UnavailableError(f"{self.verb} was not ready within {READY_TIMEOUT_S:g} s:\n{self.tail()}")

    async def stop(self, number: int = signal.SIGINT) -> None:
        """End it; kill it when it does not. Idempotent."""
        process, self.process = self.process, None
        if process is None or process.returncode is not None:
            return
        process.send_signal(number)
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()

    def tail(self) -> str:
        """The end of its log."""
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return "\n".join(f"    {line}" for line in lines[-LOG_LINES_SHOWN:])


def dies_with_us() -> list[str]:
    """A prefix that ends the child with this process, even when this process is killed."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "TERM", "--"] if setpriv else []


class LocalHost:
    """Relay and transceiver of a plan. `folder` gets the keys, the configuration and the logs."""

    def __init__(self, plan: HostPlan, folder: Path, verbose: bool = False) -> None:
        self.plan = plan
        self.relay = Daemon("relay", folder, f"http://{plan.relay_metrics}/readyz", verbose)
        self.transceiver = Daemon("transceiver", folder, f"http://{plan.transceiver_metrics}/readyz", verbose)
        keysfile.new(folder / KEYS_FILE)
        (folder / CONFIG_FILE).write_text(plan.config())

    async def start(self) -> tuple[float, float]:
        """Start both at once; seconds until relay and transceiver were ready. Raises UnavailableError."""
        relay, transceiver = await asyncio.gather(self.relay.start(), self.transceiver.start())
        return relay, transceiver

    async def stop(self) -> None:
        """End both. Idempotent."""
        await asyncio.gather(self.relay.stop(), self.transceiver.stop())

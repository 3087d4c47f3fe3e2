"""A PoP and a cluster of one host on loopback: configuration, keys and processes in a private directory."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from core.addr import Endpoint, IpFamily, family_of
from core.errors import UnavailableError
from core.service import keysfile, process
from core.service.process import Child

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
            "admin_socket": "relay.sock",
        }
        transceiver = {
            "cluster": 1,
            "host": 0,
            "http": str(self.http),
            "processes": self.processes,
            "open": True,
            "page": True,
            "metrics": str(self.transceiver_metrics),
            "admin_socket": "transceiver.sock",
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
    """One `voxpop` process that can be started again, its configuration and its log in `folder`."""

    def __init__(self, verb: str, folder: Path, status: Endpoint, verbose: bool) -> None:
        """`status` has its /readyz; `verbose` shows its log instead of keeping it."""
        self.verb = verb
        self._folder = folder
        self._status = status
        self._log = None if verbose else folder / f"{verb}.log"
        self.child: Child | None = None

    async def start(self) -> float:
        """Start it and wait until it is ready; the seconds that took. Raises UnavailableError."""
        began = time.monotonic()
        command = ["voxpop", self.verb, "--config", str(self._folder / CONFIG_FILE)]
        self.child = process.spawn(self.verb, command, self._log, ends_with_us=True)
        await asyncio.to_thread(process.until_ready, self.child, self._status)
        return time.monotonic() - began

    async def stop(self, number: int = signal.SIGINT) -> None:
        """End it; kill it when it does not. Idempotent."""
        child, self.child = self.child, None
        if child is not None:
            await asyncio.to_thread(process.end, child, number)


class LocalHost:
    """Relay and transceiver of a plan. `folder` gets the keys, the configuration and the logs."""

    def __init__(self, plan: HostPlan, folder: Path, verbose: bool = False) -> None:
        self.plan = plan
        self.relay = Daemon("relay", folder, plan.relay_metrics, verbose)
        self.transceiver = Daemon("transceiver", folder, plan.transceiver_metrics, verbose)
        keysfile.new(folder / KEYS_FILE)
        (folder / CONFIG_FILE).write_text(plan.config())

    async def start(self) -> tuple[float, float]:
        """Start both at once; seconds until relay and transceiver were ready. Raises UnavailableError."""
        relay, transceiver = await asyncio.gather(self.relay.start(), self.transceiver.start())
        return relay, transceiver

    async def stop(self) -> None:
        """End both. Idempotent."""
        await asyncio.gather(self.relay.stop(), self.transceiver.stop())

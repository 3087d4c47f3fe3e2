"""A real `voxpop transceiver` on loopback, for tests of what is seen from outside."""

from __future__ import annotations

import base64
import http.client
import json
import os
import queue
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from email.message import Message
from pathlib import Path
from typing import TypeVar

from prometheus_client.parser import text_string_to_metric_families

from tests.paths import ROOT
from tests.ports import free_port, free_tcp_port
from tests.processes import end
from transceiver.signaling.apikeys import create_api_key

TIMEOUT_S = 30.0
POLL_S = 0.05
CALLS = "/v1/realtime/calls"
FRAGMENT = "application/trickle-ice-sdpfrag"
VIP = "192.0.2.7:3478"

Result = TypeVar("Result")


@dataclass
class Response:
    status: int
    headers: Message
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def code(self) -> str:
        """`code` of the error object."""
        error = json.loads(self.body)["error"]
        assert error["message"]
        return str(error["code"])


@dataclass
class Host:
    """Start with `with`. `settings` are lines of [transceiver]; `tables` is TOML after it."""

    folder: Path
    settings: Mapping[str, str] = field(default_factory=dict)
    processes: int = 2
    status: str | None = None
    has_ipv6: bool = False
    """Cluster in both families, HTTP on [::1]."""
    tables: str = ""
    has_far: bool = True
    """Whether there is a second PoP, whose state nobody can ask for."""
    prefix: str = "127.0.0.1/32"
    """The cluster's."""
    address: str = "127.0.0.1"
    """Where it serves signaling."""
    beside: Host | None = None
    """Another host of the same cluster, whose ports, keys and API keys it has."""
    is_reachable: bool = False
    """Answers name the port of process 0 itself, so that a client gets there without a relay."""

    def __enter__(self) -> Host:
        self.config = self.folder / "voxpop.toml"
        self.metrics_port = free_tcp_port()
        if self.beside is None:
            self.udp = free_port("127.0.0.1", socket.SOCK_DGRAM, self.processes)
            self.http = free_tcp_port()
            self._make_keys()
        else:
            self.udp, self.http = self.beside.udp, self.beside.http
            self.keys: dict[str, str] = self.beside.keys
            for secret in ("keys.toml", "api-keys.toml"):
                shutil.copy(self.beside.folder / secret, self.folder / secret)
        self.write_config()
        self.start()
        return self

    def _make_keys(self) -> None:
        master = base64.b64encode(os.urandom(32)).decode()
        keys = self.folder / "keys.toml"
        keys.touch(0o600)
        keys.write_text(f'mint_with = 1\n[master]\n1 = "{master}"\n')
        self.keys = {name: self.new_api_key(name) for name in ("alice", "bob")}

    def new_api_key(self, name: str) -> str:
        return create_api_key(self.folder / "api-keys.toml", name)

    def verb(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """A verb that ends by itself."""
        command = [sys.executable, "-m", "voxpop", *map(str, arguments)]
        return subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )

    def write_config(self, **changes: str) -> None:
        settings = {
            "cluster": "1",
            "host": "0",
            "http": f'"[::1]:{self.http}"' if self.has_ipv6 else f'"{self.address}:{self.http}"',
            "metrics": f'"127.0.0.1:{self.metrics_port}"',
            "processes": str(self.processes),
            "api_keys_file": '"api-keys.toml"',
            "page": "true",
            "max_loop_lag_ms": "10000",
            "admin_socket": '"admin.sock"',
            **self.settings,
            **changes,
        }
        lines = "\n".join(f"{key} = {value}" for key, value in settings.items() if value)
        ipv6 = 'ipv6 = "::1/128"\n' if self.has_ipv6 else ""
        status = "" if self.status is None else f'status = "{self.status}"'
        vips = f'"127.0.0.1:{self.udp}"' if self.is_reachable else f'"{VIP}", "[2001:db8::7]:3478"'
        far = '[[pop]]\nid = "far"\nvips = ["198.51.100.7:3478"]\n' if self.has_far else ""
        self.config.write_text(
            f'[token]\nkeys_file = "keys.toml"\n[[cluster]]\nid = 1\nipv4 = "{self.prefix}"\n{ipv6}'
            f"ports = [{self.udp}, {self.udp + self.processes - 1}]\n"
            f'[[pop]]\nid = "near"\nvips = [{vips}]\n{status}\n'
            f"{far}[transceiver]\n{lines}\n{self.tables}\n"
        )

    def start(self) -> None:
        command = [sys.executable, "-m", "voxpop", "transceiver", "--config", str(self.config)]
        self.process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
        self.log: list[str] = []
        self._lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read_log, daemon=True)
        self._reader.start()
        try:
            self.wait_for_log("ready: ")
        except BaseException:
            self.stop()
            raise

    def _read_log(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log.append(line)
            self._lines.put(line)
        self._lines.put("")

    def wait_for_log(self, text: str) -> str:
        deadline = time.monotonic() + TIMEOUT_S
        while True:
            line = self._lines.get(timeout=max(0.01, deadline - time.monotonic()))
            if text in line:
                return line
            if not line:
                raise AssertionError("".join(self.log))

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self, number: int = signal.SIGINT) -> int:
        """End it and wait; returns the exit status."""
        try:
            return end(self.process, number)
        finally:
            self._reader.join(TIMEOUT_S)
            if self.process.stderr is not None:
                self.process.stderr.close()

    @property
    def workers(self) -> list[int]:
        """Process ids in the order of their numbers."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        indexed = {}
        for child in children:
            command = Path(f"/proc/{child}/cmdline").read_text()
            match = re.search(r"--index=(\d+)", command)
            if match:
                indexed[int(match[1])] = int(child)
        return [indexed[index] for index in sorted(indexed)]

    # Requests; each on a connection of its own, so that either process may get it

    def request(
        self,
        method: str,
        path: str,
        body: bytes | str | None = None,
        headers: Mapping[str, str] | None = None,
        key: str | None = "alice",
    ) -> Response:
        address = "::1" if self.has_ipv6 else self.address
        connection = http.client.HTTPConnection(address, self.http, timeout=TIMEOUT_S)
        try:
            sent = dict(headers or {})
            if key is not None:
                sent.setdefault("Authorization", f"Bearer {self.keys.get(key, key)}")
            connection.request(method, path, body, sent)
            response = connection.getresponse()
            return Response(response.status, response.headers, response.read())
        finally:
            connection.close()

    def call(self, sdp: str, key: str = "alice") -> str:
        """Make a call; returns its path."""
        response = self.request("POST", CALLS, sdp, {"Content-Type": "application/sdp"}, key)
        assert response.status == 201, response.text
        return response.headers["Location"]

    def scrape(self) -> str:
        """What /metrics of the whole host says."""
        connection = http.client.HTTPConnection("127.0.0.1", self.metrics_port, timeout=TIMEOUT_S)
        try:
            connection.request("GET", "/metrics")
            return connection.getresponse().read().decode()
        finally:
            connection.close()

    def metrics(self) -> dict[str, float]:
        """Samples of the whole host: `name{label=value,…}` without the worker → sum over workers."""
        text = self.scrape()
        sums: dict[str, float] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                labels = ",".join(f"{k}={v}" for k, v in sorted(sample.labels.items()) if k != "worker")
                name = f"{sample.name}{{{labels}}}"
                sums[name] = sums.get(name, 0) + sample.value
        return sums

    def has_replaced(self, killed: Collection[int]) -> bool:
        """Whether all workers are ready and none of these is among them. For asking often: a scrape costs
        more.
        """
        connection = http.client.HTTPConnection("127.0.0.1", self.metrics_port, timeout=TIMEOUT_S)
        try:
            connection.request("GET", "/healthz")
            ready = json.load(connection.getresponse())["processes"]
        finally:
            connection.close()
        workers = set(self.workers)
        return ready == len(workers) == self.processes and workers.isdisjoint(killed)

    def wait_until(self, predicate: Callable[[], Result], what: str) -> Result:
        """Ask until it is so; returns what `predicate` returned."""
        deadline = time.monotonic() + TIMEOUT_S
        while True:
            result = predicate()
            if result:
                return result
            assert time.monotonic() < deadline, what
            time.sleep(POLL_S)


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)

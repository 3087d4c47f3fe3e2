"""Running the tiny daemon."""

from __future__ import annotations

import http.client
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from core.addr import Endpoint
from core.service import keysfile, process
from core.service.process import Child
from tests.paths import ROOT
from tests.ports import free_tcp_port

PATIENCE_S = 30.0
CONFIG = """\
[token]
keys_file = "keys.toml"
[[cluster]]
id = 7
ipv4 = "127.0.0.1/32"
ports = [40000, 40007]
[relay]
pop = "tiny"
vips = ["127.0.0.1:3478"]
"""


def free_endpoint() -> Endpoint:
    return Endpoint("127.0.0.1", free_tcp_port())


class Tiny:
    """A tiny daemon in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.status = free_endpoint()
        self.config = folder / "voxpop.toml"
        keysfile.new(folder / "keys.toml")
        self.configure()
        self.child: Child | None = None

    def configure(self, **settings: object) -> None:
        lines = [f"{key} = {json.dumps(value)}\n" for key, value in settings.items()]
        self.config.write_text(
            f'{CONFIG}metrics = "{self.status}"\nadmin_socket = "admin.sock"\n{"".join(lines)}'
        )

    def mark(self, name: str) -> Path:
        """What the workers look for."""
        (self.folder / name).touch()
        return self.folder / name

    def spawn(self) -> Child:
        command = ["tests.core.service.tiny_daemon", str(self.config)]
        self.child = process.spawn("tiny", command, self.folder / "tiny.log", ends_with_us=True)
        return self.child

    def start(self) -> Child:
        child = self.spawn()
        process.until_ready(child, self.status)
        return child

    def signal(self, number: int) -> None:
        assert self.child is not None
        self.child.popen.send_signal(number)

    def verb(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """A verb of an operator's, told of this configuration."""
        command = [sys.executable, "-m", "voxpop", *arguments, "--config", str(self.config)]
        return subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S, check=False
        )

    def wait(self) -> int:
        """Its exit status."""
        assert self.child is not None
        return self.child.popen.wait(PATIENCE_S)

    @property
    def log(self) -> str:
        assert self.child is not None
        return self.child.text()

    def get(self, path: str) -> tuple[int, str, str | None]:
        """Status, body, and the header that it adds."""
        connection = http.client.HTTPConnection(*self.status, timeout=PATIENCE_S)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode(), answer.getheader("X-Tiny")
        finally:
            connection.close()

    def summary(self) -> Any:
        return json.loads(self.get("/healthz")[1])

    def state(self) -> str | None:
        """None while nobody listens."""
        try:
            return str(self.summary()["state"])
        except ConnectionRefusedError:
            return None

    def stop(self) -> None:
        if self.child is not None:
            process.end(self.child, signal.SIGKILL)


def eventually(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def is_running(pid: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False

"""What other makers' clients call: relay, transceiver and backend, each of them as real processes."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from core.service import process
from transceiver.demo.host import CONFIG_FILE, HostPlan, LocalHost, plan_host
from transceiver.signaling.apikeys import create_api_key

PATIENT = {"max_loop_lag_ms": 10_000}
"""On a machine that runs other things too, lateness is no reason to refuse a test's call."""
START_TIMEOUT_S = 30.0
KEYS = "api-keys.toml"


@dataclass(frozen=True, slots=True)
class Front:
    """Where clients call, and by which API key."""

    plan: HostPlan
    key: str

    @property
    def url(self) -> str:
        """The base URL, which is all that clients are given beside a key."""
        return f"{self.plan.url}/v1"


@contextmanager
def backend(name: str, folder: Path, *options: str) -> Iterator[str]:
    """`voxpop backend NAME`; its URL. Its log is in `folder`."""
    command = ["voxpop", "backend", name, "--listen", "127.0.0.1:0", *options]
    child = process.spawn(name, command, folder / f"{name}.log", stdout=subprocess.PIPE, ends_with_us=True)
    try:
        url = process.first_line(child, START_TIMEOUT_S).decode().strip()
        assert url.startswith("ws://"), child.text()
        yield url
    finally:
        process.end(child)
        if child.popen.stdout is not None:
            child.popen.stdout.close()


@asynccontextmanager
async def before(
    url: str, folder: Path, origins: Sequence[str] = (), **settings: object
) -> AsyncIterator[Front]:
    """A host whose calls are answered by the backend at `url`. Pages of the origins may call; `settings` are
    those of [backend.realtime]. The logs are in `folder`.
    """
    key = create_api_key(folder / KEYS, "alice")
    plan = plan_host(
        transceiver_settings={
            **PATIENT,
            "open": False,
            "page": False,
            "api_keys_file": KEYS,
            "cors_origins": list(origins),
            "backend": "realtime",
        }
    )
    host = LocalHost(plan, folder)
    lines = [f"{key} = {_toml(value)}" for key, value in {"url": url, "model": "any", **settings}.items()]
    with (folder / CONFIG_FILE).open("a") as file:
        file.write("\n".join(["[backend.realtime]", *lines, ""]))
    try:
        await host.start()
        yield Front(plan, key)
    finally:
        await host.stop()


def _toml(value: object) -> str:
    return str(value) if isinstance(value, int) else f'"{value}"'


@asynccontextmanager
async def front(
    folder: Path, name: str, origins: Sequence[str] = (), **settings: object
) -> AsyncIterator[Front]:
    """A host before `voxpop backend NAME`."""
    with backend(name, folder) as url:
        async with before(url, folder, origins, **settings) as here:
            yield here

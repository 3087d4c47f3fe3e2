"""What other makers' clients call: relay, transceiver and backend, each of them as real processes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from openai import AsyncOpenAI

from tests.e2e import kit
from transceiver.demo.host import CONFIG_FILE, HostPlan, LocalHost, plan_host
from transceiver.signaling.apikeys import create_api_key

KEYS = "api-keys.toml"
IN_PROCESS = "in process"
"""In place of a backend's name."""


@dataclass(frozen=True, slots=True)
class Front:
    """Where clients call, and by which API key."""

    plan: HostPlan
    key: str

    @property
    def url(self) -> str:
        """The base URL, which is all that clients are given beside a key."""
        return f"{self.plan.url}/v1"

    def client(self) -> AsyncOpenAI:
        """OpenAI's package as it comes."""
        url = self.url.replace("http:", "ws:")
        return AsyncOpenAI(api_key=self.key, base_url=self.url, websocket_base_url=url)


@contextmanager
def backend(name: str, folder: Path, *options: str) -> Iterator[str]:
    """`voxpop backend NAME`; its URL. Its log is in `folder`."""
    with kit.backend(name, folder, *options) as (_, url):
        yield url


@asynccontextmanager
async def standing(
    folder: Path, origins: Sequence[str] = (), table: str = "", **settings: object
) -> AsyncIterator[Front]:
    """A host that pages of the origins may call. `settings` are those of [transceiver], `table` is TOML after
    them; without either it answers by the parrot. The logs are in `folder`.
    """
    key = create_api_key(folder / KEYS, "alice")
    usual = {
        **kit.PATIENT_HOST,
        "open": False,
        "page": False,
        "api_keys_file": KEYS,
        "cors_origins": list(origins),
    }
    plan = plan_host(transceiver_settings={**usual, **settings})
    host = LocalHost(plan, folder)
    with (folder / CONFIG_FILE).open("a") as file:
        file.write(table)
    try:
        await host.start()
        yield Front(plan, key)
    finally:
        await host.stop()


@asynccontextmanager
async def before(
    url: str, folder: Path, origins: Sequence[str] = (), **settings: object
) -> AsyncIterator[Front]:
    """A host whose calls are answered by the backend at `url`; `settings` are those of [backend.realtime]."""
    lines = [f"{key} = {_toml(value)}" for key, value in {"url": url, "model": "any", **settings}.items()]
    table = "\n".join(["[backend.realtime]", *lines, ""])
    async with standing(folder, origins, table, backend="realtime") as here:
        yield here


def _toml(value: object) -> str:
    return str(value) if isinstance(value, int) else f'"{value}"'


@asynccontextmanager
async def front(
    folder: Path, name: str, origins: Sequence[str] = (), **settings: object
) -> AsyncIterator[Front]:
    """A host before `voxpop backend NAME`, or one that answers by its own backend, with IN_PROCESS."""
    if name == IN_PROCESS:
        async with standing(folder, origins) as here:
            yield here
        return
    with backend(name, folder) as url:
        async with before(url, folder, origins, **settings) as here:
            yield here

"""The processes of a soak: a relay, a transceiver with `backend = "realtime"`, and behind it the parrot as a
process of its own; between these two a way on which single connections can be cut.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from yarl import URL

from core.config.tables import MAX_SESSION_S
from core.service.process import Child
from tests.e2e.kit import PATIENT_HOST, backend
from transceiver.demo.host import CONFIG_FILE, Daemon, LocalHost, plan_host

CHUNK_BYTES: Final = 65_536
SETTINGS: Final = PATIENT_HOST | {"backend": "realtime", "max_session_s": MAX_SESSION_S}
"""Two callers stay for all of a soak, which may be longer than calls last by default."""
RELAY_SETTINGS: Final = {"idle_timeout_s": 10}
"""A relay holds sockets for a flow for as long after its call, and nobody knows what is left before."""


class Cutter:
    """A TCP relay in this process, which breaks connections when it is told to."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self.cuts = 0

    async def start(self) -> int:
        """Accept; the port."""
        self._server = await asyncio.start_server(self._relay, "127.0.0.1", 0)
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Break everything."""
        if self._server is not None:
            self._server.close()
        for writer in self._open:
            writer.transport.abort()

    def cut(self, chance: random.Random) -> None:
        """Break one connection, as a network does: with a reset, and without a word of WebSocket."""
        if self._open:
            self.cuts += 1
            chance.choice(list(self._open)).transport.abort()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            beyond, far = await asyncio.open_connection("127.0.0.1", self._port)
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(_copy(reader, far))
                    group.create_task(_copy(beyond, writer))
            finally:
                far.transport.abort()
        except* OSError:
            pass  # it was cut, or one side has gone
        finally:
            self._open.discard(writer)
            writer.transport.abort()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Until one end closes, which ends the other way as well."""
    while data := await reader.read(CHUNK_BYTES):
        writer.write(data)
        await writer.drain()
    raise ConnectionResetError


class Scene:
    """All of it, running."""

    def __init__(self, host: LocalHost, parrot: Child, cutter: Cutter, folder: Path) -> None:
        self.host = host
        self.cutter = cutter
        self._parrot = parrot
        self._folder = folder

    @property
    def parents(self) -> dict[str, int]:
        """The processes that were started, by name; some have children."""
        found = {"parrot": self._parrot.popen.pid}
        for daemon in (self.host.relay, self.host.transceiver):
            found[daemon.verb] = _pid(daemon)
        return found

    def logs(self) -> dict[str, str]:
        """What each has logged, by name."""
        return {name: (self._folder / f"{name}.log").read_text(errors="replace") for name in self.parents}


def _pid(daemon: Daemon) -> int:
    assert daemon.child is not None
    return daemon.child.popen.pid


@asynccontextmanager
async def playing(folder: Path, processes: int) -> AsyncIterator[Scene]:
    """Start everything, in a directory of its own, and end it."""
    async with contextlib.AsyncExitStack() as stack:
        parrot, url = stack.enter_context(backend("parrot", folder))
        cutter = Cutter(URL(url).port or 0)
        stack.push_async_callback(cutter.close)
        through = URL(url).with_port(await cutter.start())
        plan = plan_host(
            processes=processes, workers=1, relay_settings=RELAY_SETTINGS, transceiver_settings=SETTINGS
        )
        host = LocalHost(plan, folder)
        with (folder / CONFIG_FILE).open("a") as config:
            config.write(f'[backend.realtime]\nurl = "{through}"\n')
        stack.push_async_callback(host.stop)
        await host.start()
        yield Scene(host, parrot, cutter, folder)

"""The server as a process: a port, signals, and an end that is clean.

SIGHUP   read the API keys again; if they are wrong, the old ones stay
SIGTERM  take no more clients, let those that are there finish, and end; a second one ends at once
SIGINT   end at once
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web

from core.addr import Endpoint
from core.errors import ConfigError, UnavailableError
from core.service import status_http
from core.service.http_server import BoundedServer, Bounds
from core.service.status_http import Status
from core.service.tasks import until_one_ends
from transceiver.backends.server.app import Access, KeyOwner, Server
from transceiver.backends.server.contract import ServedBackend

logger = logging.getLogger(__name__)

SPARE_CONNECTIONS = 64
"""For probes, and for those that are refused or not yet accepted."""
SHUTDOWN_S = 3.0
"""For goodbyes, once sessions were told to end."""
EXIT_INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class Serving:
    """How to serve."""

    listen: Endpoint
    """Port 0 is any that is free."""
    max_sessions: int
    drain_timeout_s: float
    load_keys: Callable[[], KeyOwner] | None
    """Reads the API keys, at the start and at SIGHUP. Raises ConfigError. None takes no keys."""
    metrics: Endpoint | None = None
    """Where to show them, with /healthz and /readyz; None for nowhere."""


async def serve(backend: ServedBackend, serving: Serving, ready: Callable[[str], None]) -> int:
    """Serve until told to stop; `ready` is given the URL. Returns the exit status. Raises UnavailableError
    and ConfigError.
    """
    owner_of = None if serving.load_keys is None else serving.load_keys()
    server = Server(backend, Access(owner_of, serving.max_sessions))
    signals = Signals(server, serving)
    try:
        await backend.start()
        listener = Listener(server.app(), serving.max_sessions + SPARE_CONNECTIONS)
        status = await _show(server, serving.metrics)
        try:
            at = await listener.start(serving.listen)
            ready(f"ws://{at}/v1/realtime")
            return await signals.wait()
        finally:
            server.end_all()
            await listener.close()
            if status is not None:
                await status.close()
    finally:
        await backend.close()


async def _show(server: Server, at: Endpoint | None) -> BoundedServer | None:
    """Metrics, beside the port of clients. Raises UnavailableError."""
    if at is None:
        return None

    async def exposition() -> bytes:
        return server.metrics.exposition(server.sessions)

    status = Status(exposition, server.summary, lambda: server.is_ready)
    return await status_http.serve(status, at, "--metrics")


class Signals:
    """What the process is told by signals."""

    def __init__(self, server: Server, serving: Serving) -> None:
        self._server = server
        self._serving = serving
        self._drain, self._end = asyncio.Event(), asyncio.Event()
        self._status = 0
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGHUP, self._reload)
        loop.add_signal_handler(signal.SIGTERM, self._terminate)
        loop.add_signal_handler(signal.SIGINT, self._interrupt)

    async def wait(self) -> int:
        """Until it is time to end; the exit status."""
        await self._drain.wait()
        if not self._end.is_set():
            timeout_s = self._serving.drain_timeout_s
            logger.info("draining: %d sessions have up to %g s", self._server.sessions, timeout_s)
            self._server.drain()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    await until_one_ends(self._server.emptied(), self._ended())
        return self._status

    async def _ended(self) -> None:
        await self._end.wait()

    def _terminate(self) -> None:
        if self._drain.is_set():
            self._end.set()
        self._drain.set()

    def _interrupt(self) -> None:
        self._status = EXIT_INTERRUPTED
        self._end.set()
        self._drain.set()

    def _reload(self) -> None:
        if self._serving.load_keys is None:
            return
        try:
            self._server.access.owner_of = self._serving.load_keys()
        except ConfigError as error:
            logger.error("the API keys stay as they were: %s", "; ".join(error.problems))
        else:
            logger.info("the API keys were read again")


class Listener:
    """A port with an application behind it, and a bound on connections: those without a session too."""

    def __init__(self, app: web.Application, max_connections: int) -> None:
        self._server = BoundedServer(app, Bounds(connections=max_connections), shutdown_s=SHUTDOWN_S)

    async def start(self, at: Endpoint) -> Endpoint:
        """Accept connections; where. Raises UnavailableError."""
        try:
            found = await self._server.start(at)
        except OSError as error:
            reason = os.strerror(error.errno or 0)
            raise UnavailableError(f"--listen: cannot listen on {at}: {reason}") from None
        assert found is not None
        return found

    async def close(self) -> None:
        """Stop accepting, and let handlers end."""
        await self._server.close()

"""HTTP of one process: a bound on connections, and on how long one may say nothing."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import resource
import socket
import time
from typing import cast

from aiohttp import web

from transceiver.observer import Observer
from transceiver.signaling.app import http_logger
from transceiver.signaling.refusals import HttpReason

logger = logging.getLogger(__name__)

MAX_CONNECTIONS = 1_024
"""HTTP connections of one process; more are closed as they come."""
OPEN_FILES = 4 * MAX_CONNECTIONS
"""Enough that strangers, at `MAX_CONNECTIONS`, leave descriptors to siblings and supervisor. The soft limit
that services start with, 1,024, is not."""
SPARE_FILES = 8
"""Descriptors that connections leave free: were they to take the last, libuv would close connections
without a word, and nothing else could be opened."""
SAY_REFUSED_S = 60.0
IDLE_TIMEOUT_S = 20.0
"""A connection that has not sent a whole header by then is closed, on the first request and after."""


class Refuse(asyncio.Protocol):
    """Closes a connection as soon as it is there."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Close it."""
        cast(asyncio.WriteTransport, transport).abort()  # uvloop's is none by inheritance


class HttpServer:
    """One aiohttp application on a socket that is listening already."""

    def __init__(
        self, app: web.Application, observer: Observer, idle_timeout_s: float = IDLE_TIMEOUT_S
    ) -> None:
        self._runner = web.AppRunner(
            app,
            access_log=None,
            logger=http_logger(observer),
            keepalive_timeout=idle_timeout_s,
            auto_decompress=False,
            lingering_time=1.0,
            shutdown_timeout=1.0,
        )
        self._observer = observer
        self._server: asyncio.Server | None = None
        self._descriptors = 0
        """That were open before the first connection, and those that other things of this process need."""
        self._quiet_until = -math.inf

    async def start(self, listener: socket.socket) -> None:
        """Accept connections."""
        await self._runner.setup()
        self._descriptors = len(os.listdir("/proc/self/fd")) + SPARE_FILES  # noqa: PTH208 - of /proc
        loop = asyncio.get_running_loop()
        create = loop.create_unix_server if listener.family == socket.AF_UNIX else loop.create_server
        self._server = await create(self._protocol, sock=listener)

    async def close(self) -> None:
        """Stop accepting, let running requests end within a second."""
        if self._server is not None:
            self._server.close()
        await self._runner.cleanup()

    def _protocol(self) -> asyncio.BaseProtocol:
        server = self._runner.server
        assert server is not None
        most = min(MAX_CONNECTIONS, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - self._descriptors)
        if len(server.connections) >= most:
            self._say_refused(most)
            return Refuse()
        return server()

    def _say_refused(self, most: int) -> None:
        """Each is counted, and the log is told once a minute."""
        self._observer.request_refused(HttpReason.TOO_MANY_CONNECTIONS)
        now_s = time.monotonic()
        if now_s >= self._quiet_until:
            self._quiet_until = now_s + SAY_REFUSED_S
            why = (
                "its bound" if most == MAX_CONNECTIONS else "what the limit of open files (ulimit -n) leaves"
            )
            logger.warning("HTTP connections are refused: there are %d, %s", most, why)

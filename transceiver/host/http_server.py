"""HTTP of one process: what of its connections is counted and said."""

from __future__ import annotations

import logging
import math
import socket
import time

from aiohttp import web

from core.service.http_server import MAX_CONNECTIONS, BoundedServer, Bounds, Cut
from transceiver.host.catalogue import CONNECTIONS_CLOSED
from transceiver.observer import Observer
from transceiver.signaling.app import http_logger
from transceiver.signaling.refusals import HttpReason

logger = logging.getLogger(__name__)

OPEN_FILES = 4 * MAX_CONNECTIONS
"""Enough that strangers, at `MAX_CONNECTIONS`, leave descriptors to siblings and supervisor. The soft limit
that services start with, 1,024, is not."""
SAY_REFUSED_S = 60.0
NO_ROOM = (Cut.GAVE_WAY, Cut.FULL)


class HttpServer:
    """One aiohttp application on a socket that is listening already."""

    def __init__(self, app: web.Application, observer: Observer, bounds: Bounds | None = None) -> None:
        self.bounds = bounds or Bounds()
        """May be changed while it runs."""
        self._server = BoundedServer(app, self.bounds, logger=http_logger(observer), on_cut=self._note)
        self._observer = observer
        self._quiet_until = -math.inf

    async def start(self, listener: socket.socket) -> None:
        """Accept connections."""
        await self._server.start(listener)

    async def close(self) -> None:
        """Stop accepting, let running requests end within a second."""
        await self._server.close()

    def _note(self, why: Cut) -> None:
        """Each is counted, and of a lack of room the log is told once a minute."""
        self._observer.count(CONNECTIONS_CLOSED, why)
        if why is Cut.FULL:
            self._observer.request_refused(HttpReason.TOO_MANY_CONNECTIONS)
        now_s = time.monotonic()
        if why in NO_ROOM and now_s >= self._quiet_until:
            self._quiet_until = now_s + SAY_REFUSED_S
            most = self._server.most
            is_own = most == self.bounds.connections
            bound = "its bound" if is_own else "what the limit of open files (ulimit -n) leaves"
            logger.warning("HTTP connections give way to new ones: there are %d, %s", most, bound)

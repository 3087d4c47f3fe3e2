"""The status endpoint of a daemon: /metrics for Prometheus, /healthz and /readyz for everyone who asks."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from aiohttp import web

from core.addr import Endpoint
from core.errors import UnavailableError
from core.service.http_server import BoundedServer, Bounds
from core.service.metrics.exposition import CONTENT_TYPE

SHUTDOWN_S = 1.0
"""What requests in progress get when the daemon ends."""


@dataclass(frozen=True, slots=True)
class Status:
    """What there is to ask."""

    exposition: Callable[[], Awaitable[bytes]]
    """Text format of Prometheus."""
    summary: Callable[[], Mapping[str, object]]
    """For people, as JSON."""
    is_ready: Callable[[], bool]
    """Whether a load balancer may send work."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Of /healthz and /readyz."""
    asked_at: Callable[[str, str], None] | None = None
    """Told of each request for /readyz that is dated: the address that it comes from, and its `Date`."""


def build_app(status: Status) -> web.Application:
    """The three endpoints."""

    async def show_metrics(_: web.Request) -> web.Response:
        return web.Response(body=await status.exposition(), headers={"Content-Type": CONTENT_TYPE})

    async def show_health(_: web.Request) -> web.Response:
        return web.json_response(status.summary(), headers=status.headers)

    async def show_readiness(request: web.Request) -> web.Response:
        date = request.headers.get("Date")
        if status.asked_at is not None and date is not None and request.remote is not None:
            status.asked_at(request.remote, date)
        code = 200 if status.is_ready() else 503
        return web.json_response(status.summary(), status=code, headers=status.headers)

    app = web.Application()
    app.router.add_get("/metrics", show_metrics)
    app.router.add_get("/healthz", show_health)
    app.router.add_get("/readyz", show_readiness)
    return app


async def serve(status: Status, at: Endpoint, setting: str) -> BoundedServer:
    """Start serving; `close()` of the result ends it. Raises UnavailableError that names the setting."""
    server = BoundedServer(build_app(status), Bounds(), shutdown_s=SHUTDOWN_S)
    try:
        await server.start(at)
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        raise UnavailableError(f"{setting}: cannot listen on {at}: {reason}") from None
    return server

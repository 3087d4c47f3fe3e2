"""The relay's HTTP endpoint: /metrics for Prometheus, /healthz and /readyz for everyone who asks."""

from __future__ import annotations

from aiohttp import web

from core.addr import Endpoint
from core.errors import UnavailableError
from edge.metrics import relay as metrics
from edge.metrics.status import HostStatus, State

_OPEN_TO_PAGES = {"Access-Control-Allow-Origin": "*"}
"""Pages of any origin may read the state, to show which PoP carries their call."""


def build_app(status: HostStatus) -> web.Application:
    """The three endpoints."""

    async def show_metrics(_: web.Request) -> web.Response:
        return web.Response(body=metrics.render(status), headers={"Content-Type": metrics.CONTENT_TYPE})

    async def show_health(_: web.Request) -> web.Response:
        return web.json_response(status.summary(), headers=_OPEN_TO_PAGES)

    async def show_readiness(_: web.Request) -> web.Response:
        code = 200 if status.state is State.READY else 503
        return web.json_response(status.summary(), status=code, headers=_OPEN_TO_PAGES)

    app = web.Application()
    app.router.add_get("/metrics", show_metrics)
    app.router.add_get("/healthz", show_health)
    app.router.add_get("/readyz", show_readiness)
    return app


async def serve(status: HostStatus, at: Endpoint) -> web.AppRunner:
    """Start serving; `cleanup()` of the result ends it. Raises UnavailableError."""
    runner = web.AppRunner(build_app(status), access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, at.host, at.port).start()
    except OSError as error:
        await runner.cleanup()
        raise UnavailableError(f"relay.metrics: cannot listen on {at}: {error.strerror}") from None
    return runner

"""The status endpoint over real HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import aiohttp
import pytest

from core.addr import Endpoint
from core.errors import UnavailableError
from core.service.metrics.exposition import CONTENT_TYPE
from core.service.status_http import Status, serve
from tests.ports import free_tcp_port

ANY_PAGE = {"Access-Control-Allow-Origin": "*"}


async def exposition() -> bytes:
    return b"# EOF\n"


def ask(status: Status, scenario: Callable[[aiohttp.ClientSession], Awaitable[None]]) -> None:
    async def run() -> None:
        at = Endpoint("127.0.0.1", free_tcp_port())
        server = await serve(status, at, "relay.metrics")
        try:
            async with aiohttp.ClientSession(f"http://{at}") as http:
                await scenario(http)
        finally:
            await server.close()

    asyncio.run(run())


@pytest.mark.parametrize(("is_ready", "code"), [(True, 200), (False, 503)])
def test_readiness_is_the_status_and_health_is_there_all_the_same(is_ready: bool, code: int) -> None:
    summary = {"state": "ready" if is_ready else "draining"}

    async def scenario(http: aiohttp.ClientSession) -> None:
        for path, expected in (("/readyz", code), ("/healthz", 200)):
            async with http.get(path) as answer:
                assert answer.status == expected
                assert await answer.json() == summary
                assert answer.headers["Access-Control-Allow-Origin"] == "*"

    ask(Status(exposition, lambda: summary, lambda: is_ready, ANY_PAGE), scenario)


def test_metrics_are_of_the_type_that_prometheus_asks_for_and_of_no_page() -> None:
    async def scenario(http: aiohttp.ClientSession) -> None:
        async with http.get("/metrics") as answer:
            assert answer.headers["Content-Type"] == CONTENT_TYPE
            assert "Access-Control-Allow-Origin" not in answer.headers
            assert await answer.read() == b"# EOF\n"
        for path in ("/", "/metrics/", "/healthz/x"):
            async with http.get(path) as answer:
                assert answer.status == 404

    ask(Status(exposition, dict, lambda: True, ANY_PAGE), scenario)


def test_a_port_that_is_taken_is_said_with_its_setting() -> None:
    async def run() -> None:
        status = Status(exposition, dict, lambda: True)
        at = Endpoint("127.0.0.1", free_tcp_port())
        server = await serve(status, at, "relay.metrics")
        try:
            with pytest.raises(
                UnavailableError, match=f"^relay.metrics: cannot listen on {at}: Address already"
            ):
                await serve(status, at, "relay.metrics")
        finally:
            await server.close()

    asyncio.run(run())

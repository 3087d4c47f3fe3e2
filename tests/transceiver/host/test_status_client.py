"""transceiver.host.status_client against real HTTP servers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web

from transceiver.host.status_client import MAX_BYTES, StatusClient

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def asking(handle: Handler) -> AsyncIterator[tuple[StatusClient, str]]:
    runner = web.ServerRunner(web.Server(handle))
    await runner.setup()
    client = StatusClient()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield client, f"http://127.0.0.1:{runner.addresses[0][1]}/readyz"
    finally:
        await client.close()
        await runner.cleanup()


def test_one_connection_does_for_all_questions() -> None:
    async def scenario() -> None:
        peers = []

        async def handle(request: web.BaseRequest) -> web.Response:
            assert request.transport is not None
            peers.append(request.transport.get_extra_info("peername"))
            return web.Response(text=request.headers["Date"], status=503)

        async with asking(handle) as (client, url):
            for _ in range(3):
                status = await client.get(url, {"Date": "now"})
                assert (status.code, status.body) == (503, b"now")
                assert status.date is not None
        assert len(peers) == 3
        assert len({*peers}) == 1

    asyncio.run(scenario())


def test_what_has_no_end_and_what_leads_elsewhere_is_taken_for_what_it_is() -> None:
    async def scenario() -> None:
        async def handle(request: web.BaseRequest) -> web.StreamResponse:
            if request.path == "/redirect":
                return web.Response(status=302, headers={"Location": "/elsewhere"})
            assert request.path == "/readyz"
            return web.Response(body=bytes(100 * MAX_BYTES))

        async with asking(handle) as (client, url):
            assert 0 < len((await client.get(url)).body) <= MAX_BYTES
            assert (await client.get(url.replace("readyz", "redirect"))).code == 302
            assert (await client.get(url)).code == 200

    asyncio.run(scenario())


def test_a_body_that_comes_in_pieces_is_read_to_its_end() -> None:
    async def scenario() -> None:
        async def handle(request: web.BaseRequest) -> web.StreamResponse:
            response = web.StreamResponse()
            await response.prepare(request)
            for piece in (b'{"state": ', b'"ready"', b"}"):
                await response.write(piece)
                await asyncio.sleep(0.02)
            return response

        async with asking(handle) as (client, url):
            assert (await client.get(url)).body == b'{"state": "ready"}'

    asyncio.run(scenario())


def test_a_server_that_has_gone_and_come_back_is_asked_anew() -> None:
    """Whoever kept the connection must not take the old one's end for the new one's silence."""

    async def scenario() -> None:
        async def handle(request: web.BaseRequest) -> web.Response:
            return web.Response()

        client = StatusClient()
        runner = web.ServerRunner(web.Server(handle))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        port = runner.addresses[0][1]
        url = f"http://127.0.0.1:{port}/readyz"
        assert (await client.get(url)).code == 200
        await runner.cleanup()
        with pytest.raises(aiohttp.ClientConnectorError) as refused:
            await client.get(url)
        assert isinstance(refused.value.os_error, ConnectionRefusedError)
        runner = web.ServerRunner(web.Server(handle))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port, reuse_address=True).start()
        assert (await client.get(url)).code == 200
        await client.close()
        await runner.cleanup()

    asyncio.run(scenario())

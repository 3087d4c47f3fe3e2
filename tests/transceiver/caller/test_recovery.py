"""How often and how long a lost way is looked for, against a server that says all that servers may say."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from core.addr import Endpoint
from transceiver.caller import recovery
from transceiver.caller.api import FRAGMENT_TYPE, SignalingClient
from transceiver.caller.recovery import keep_connected
from transceiver.sdp import Fragment, LocalDescription, Restarted, parse_fragment_untrusted

KEY = "vpk_key-of-the-test"
FRAGMENT = (
    "a=ice-lite\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=ice-ufrag:theirs2\r\n"
    "a=ice-pwd:the0second0password0of0theirs\r\n"
    "a=candidate:1 1 udp 2130706431 192.0.2.7 3478 typ host\r\na=end-of-candidates\r\n"
)
LOCAL = LocalDescription(
    ufrag="ours",
    password="p" * 24,
    fingerprint=("sha-256", "AA"),
    setup="actpass",
    candidates=(),
    ssrc=1,
    cname="c",
    stream_id="s",
    track_id="t",
    session_version=1,
)
TIMEOUT_S = 20


class Way:
    """What `keep_connected` uses of a transport: whether it is lost, and where it is told to go on."""

    def __init__(self) -> None:
        self.disconnected, self.connected = asyncio.Event(), asyncio.Event()
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.restarts: list[tuple[str, Restarted]] = []
        self.heals_after = 1

    def restart_ice(self, local_ufrag: str, restarted: Restarted) -> None:
        self.restarts.append((local_ufrag, restarted))
        if len(self.restarts) >= self.heals_after:
            self.disconnected.clear()
            self.connected.set()

    def end(self, reason: str) -> None:
        if not self.ended.done():
            self.ended.set_result(reason)


Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
Body = Callable[[Way, list[float]], Awaitable[None]]


def recovering(handler: Handler, body: Body, pauses: Sequence[float] = (0.0, 0.05, 0.1)) -> None:
    """Runs `body(way, asked)` with `keep_connected` at work against a server; `asked`: times of requests."""
    asked: list[float] = []

    async def noting(request: web.BaseRequest) -> web.StreamResponse:
        asked.append(time.monotonic())
        return await handler(request)

    async def run() -> None:
        runner = web.ServerRunner(web.Server(noting))
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        url = URL(f"http://127.0.0.1:{runner.addresses[0][1]}/v1/realtime/calls/rtc_0-a")
        way = Way()
        async with aiohttp.ClientSession() as http:
            keeper = asyncio.create_task(
                keep_connected(SignalingClient(http, url, KEY), url, LOCAL, way)  # type: ignore[arg-type]
            )
            try:
                await asyncio.wait_for(body(way, asked), TIMEOUT_S)
                assert not keeper.done()
            finally:
                keeper.cancel()
                await asyncio.wait({keeper})
                await runner.cleanup()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recovery, "PAUSES_S", pauses)
        asyncio.run(run())


async def restarting(request: web.BaseRequest) -> web.Response:
    return web.Response(text=FRAGMENT, content_type=FRAGMENT_TYPE)


def test_a_lost_way_is_a_patch_with_new_credentials() -> None:
    seen: list[tuple[str, Mapping[str, str], Fragment]] = []

    async def handler(request: web.BaseRequest) -> web.Response:
        seen.append((request.method, request.headers, parse_fragment_untrusted(await request.text())))
        return await restarting(request)

    async def body(way: Way, asked: list[float]) -> None:
        for _ in range(2):
            way.connected.clear()
            way.disconnected.set()
            await way.connected.wait()

    recovering(handler, body)
    assert len(seen) == 2
    for method, headers, _ in seen:
        assert (method, headers["If-Match"], headers["Content-Type"]) == ("PATCH", "*", FRAGMENT_TYPE)
        assert headers["Authorization"] == f"Bearer {KEY}"
    assert len({fragment.ufrag for *_, fragment in seen} | {LOCAL.ufrag}) == 3
    assert len({fragment.password for *_, fragment in seen} | {LOCAL.password}) == 3


def test_what_the_server_says_is_what_is_gone_on_with() -> None:
    async def body(way: Way, asked: list[float]) -> None:
        way.disconnected.set()
        await way.connected.wait()
        ((_, restarted),) = way.restarts
        assert (restarted.ufrag, restarted.candidates) == ("theirs2", (Endpoint("192.0.2.7", 3478),))

    recovering(restarting, body)


@pytest.mark.parametrize("status", [500, 502, 503, 429, 408])
def test_a_server_that_cannot_now_is_asked_again_after_ever_longer_pauses_and_not_for_ever(
    status: int,
) -> None:
    async def handler(request: web.BaseRequest) -> web.Response:
        return web.Response(status=status)

    async def body(way: Way, asked: list[float]) -> None:
        way.disconnected.set()
        await asyncio.sleep(1.0)
        assert len(asked) == 3
        assert asked[1] - asked[0] >= 0.04
        assert asked[2] - asked[1] >= 0.09
        assert not way.ended.done()

    recovering(handler, body)


@pytest.mark.parametrize("fragment", ["", "hello", "a=ice-ufrag:only\r\n", "v=0\r\n" * 3000])
def test_an_answer_without_credentials_is_tried_again(fragment: str) -> None:
    async def handler(request: web.BaseRequest) -> web.Response:
        return web.Response(text=fragment, content_type=FRAGMENT_TYPE)

    async def body(way: Way, asked: list[float]) -> None:
        way.disconnected.set()
        await asyncio.sleep(1.0)
        assert len(asked) == 3
        assert not way.restarts

    recovering(handler, body)


@pytest.mark.parametrize("status", [204, 400, 405, 412, 415, 422])
def test_a_server_that_takes_no_restart_is_asked_once_and_the_call_goes_on(status: int) -> None:
    async def handler(request: web.BaseRequest) -> web.Response:
        return web.Response(status=status)

    async def body(way: Way, asked: list[float]) -> None:
        way.disconnected.set()
        await asyncio.sleep(0.6)
        assert len(asked) == 1
        assert not way.ended.done()

    recovering(handler, body)


@pytest.mark.parametrize("status", [404, 410])
def test_a_server_that_does_not_know_the_call_ends_it(status: int) -> None:
    async def handler(request: web.BaseRequest) -> web.Response:
        return web.Response(status=status)

    async def body(way: Way, asked: list[float]) -> None:
        way.disconnected.set()
        assert await way.ended == "the server does not know this call any more"

    recovering(handler, body)


def test_a_way_that_comes_back_by_itself_is_left_alone() -> None:
    async def handler(request: web.BaseRequest) -> web.Response:
        return web.Response(status=503)

    async def body(way: Way, asked: list[float]) -> None:
        way.disconnected.set()
        await asyncio.sleep(0.2)
        way.disconnected.clear()
        way.connected.set()
        await asyncio.sleep(0.6)
        assert len(asked) == 1

    recovering(handler, body, pauses=(0.0, 0.4, 0.1))

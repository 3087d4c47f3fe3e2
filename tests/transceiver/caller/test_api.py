"""The HTTP side against a real HTTP server that answers as servers do, and as they should not."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from core.addr import Endpoint
from transceiver.caller.api import MAX_BODY_BYTES, Placed, Pop, SignalingClient, calls_url
from transceiver.caller.errors import CallError, Stage

OFFER = "v=0\r\n"
Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
KEY = "vpk_key-of-the-test"


@asynccontextmanager
async def serving(handler: Handler, *, key: str | None = KEY) -> AsyncIterator[SignalingClient]:
    """A client of a server that has one handler for everything."""
    server = web.Server(handler)
    runner = web.ServerRunner(server)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    try:
        async with aiohttp.ClientSession() as http:
            yield SignalingClient(http, calls_url(f"http://127.0.0.1:{port}"), key)
    finally:
        await runner.cleanup()


def place(handler: Handler, session: dict[str, object] | None = None, **options: str | None) -> Placed:
    async def run() -> Placed:
        async with serving(handler, **options) as client:
            return await client.place(OFFER, session or {})

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080/v1/realtime/calls"),
        ("http://127.0.0.1:8080/", "http://127.0.0.1:8080/v1/realtime/calls"),
        ("https://[2001:db8::1]:8443", "https://[2001:db8::1]:8443/v1/realtime/calls"),
        ("https://voice.example.net/whip/here", "https://voice.example.net/whip/here"),
    ],
)
def test_a_bare_host_means_its_well_known_path(text: str, url: str) -> None:
    assert calls_url(text) == URL(url)


@pytest.mark.parametrize(
    "text", ["", "127.0.0.1:8080", "voice.example.net", "ftp://x", "http://", "http://[::1"]
)
def test_what_is_no_url_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="such as http://127"):
        calls_url(text)


def test_an_offer_is_posted_as_sdp_with_the_key() -> None:
    seen: dict[str, str] = {}

    async def handler(request: web.BaseRequest) -> web.Response:
        seen.update(body=await request.text(), type=request.content_type, path=request.path)
        seen["key"] = request.headers["Authorization"]
        return web.Response(status=201, text="answer", headers={"Location": "/v1/realtime/calls/rtc_0a"})

    placed = place(handler)
    assert seen == {
        "body": OFFER,
        "type": "application/sdp",
        "path": "/v1/realtime/calls",
        "key": f"Bearer {KEY}",
    }
    assert placed.answer_sdp == "answer"
    assert placed.location is not None
    assert placed.location.path == "/v1/realtime/calls/rtc_0a"
    assert placed.location.is_absolute()


def test_settings_make_it_multipart() -> None:
    async def handler(request: web.BaseRequest) -> web.Response:
        form = await request.post()
        sdp, session = form["sdp"], form["session"]
        assert isinstance(sdp, bytes | bytearray)
        assert sdp.decode() == OFFER
        assert isinstance(session, str | bytes | bytearray)
        assert json.loads(session) == {"a": 1}
        assert "Authorization" not in request.headers
        return web.Response(status=201, text="answer")

    placed = place(handler, {"a": 1}, key=None)
    assert (placed.answer_sdp, placed.location) == ("answer", None)


REFUSALS: dict[str, tuple[dict[str, Any], str]] = {
    "by name": (
        {"status": 400, "text": '{"error": {"message": "The SDP has no audio."}}'},
        "refused with 400: The SDP has no audio.",
    ),
    "full": (
        {"status": 503, "text": '{"error": {"message": "Full."}}', "headers": {"Retry-After": "7"}},
        r"refused with 503: Full\. \(try again in 7 s\)",
    ),
    "no key": ({"status": 401, "text": ""}, r"VOXPOP_API_KEY or give --api-key-file"),
    "another server": ({"status": 404, "text": "<html>"}, "refused with 404: Not Found"),
    "not 201": ({"status": 200, "text": "hello"}, "refused with 200"),
    "odd json": ({"status": 500, "text": '["error"]'}, "refused with 500"),
    "deep json": ({"status": 500, "text": "[" * 100_000}, "refused with 500"),
    "endless message": (
        {"status": 500, "text": '{"error": {"message": "%s"}}' % ("x" * 9_999)},
        "refused with 500: x{300}$",
    ),
    "endless body": ({"status": 201, "text": "x" * (MAX_BODY_BYTES + 1)}, "longer than"),
    "not text": ({"status": 201, "body": b"\xff\xfe"}, "utf-8"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_a_refusal_says_what_the_server_says(name: str) -> None:
    response, words = REFUSALS[name]

    async def handler(request: web.BaseRequest) -> web.Response:
        return web.Response(**response)

    with pytest.raises(CallError, match=words) as caught:
        place(handler)
    assert caught.value.stage is Stage.SIGNALING
    assert "\n" not in str(caught.value)
    assert KEY not in str(caught.value)


def test_nobody_listening_is_said_in_one_line() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound and not listening: refused

        async def run() -> None:
            async with aiohttp.ClientSession() as http:
                url = calls_url(f"http://127.0.0.1:{unused.getsockname()[1]}")
                await SignalingClient(http, url, None).place(OFFER, {})

        with pytest.raises(CallError, match="signaling: http://127") as caught:
            asyncio.run(run())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "taken"), [(200, True), (204, True), (404, True), (401, False), (503, False)]
)
def test_hanging_up_deletes_the_location(status: int, taken: bool) -> None:
    seen = []

    async def handler(request: web.BaseRequest) -> web.Response:
        seen.append((request.method, request.path, request.headers.get("Authorization")))
        return web.Response(status=status)

    async def run() -> bool:
        async with serving(handler) as client:
            return await client.hang_up(client._url / "rtc_0a")

    assert asyncio.run(run()) is taken
    assert seen == [("DELETE", "/v1/realtime/calls/rtc_0a", f"Bearer {KEY}")]


POPS = json.dumps(
    [
        {"id": "a", "vips": ["192.0.2.1:3478"], "forwarder": "xdp"},
        {"id": "b", "vips": ["[2001:db8::1]:9"], "forwarder": "userspace"},
    ]
)


@pytest.mark.parametrize(
    ("body", "vip", "pop"),
    [
        (POPS, Endpoint("192.0.2.1", 3478), Pop("a", "192.0.2.1:3478", "xdp")),
        (POPS, Endpoint("2001:db8::1", 9), Pop("b", "[2001:db8::1]:9", "userspace")),
        (POPS, Endpoint("192.0.2.9", 3478), None),
        ("[]", Endpoint("192.0.2.1", 3478), None),
        ('[1, null, {"vips": null}]', Endpoint("192.0.2.1", 3478), None),
        ('{"pops": 3}', Endpoint("192.0.2.1", 3478), None),
        ("<html>", Endpoint("192.0.2.1", 3478), None),
    ],
)
def test_the_pop_is_found_by_its_vip(body: str, vip: Endpoint, pop: Pop | None) -> None:
    async def handler(request: web.BaseRequest) -> web.Response:
        assert request.path == "/v1/pops"
        return web.Response(text=body)

    async def run() -> Pop | None:
        async with serving(handler) as client:
            return await client.pop_of(vip)

    assert asyncio.run(run()) == pop

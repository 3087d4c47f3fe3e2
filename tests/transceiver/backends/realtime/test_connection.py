"""Sockets to a backend: how they are opened, and when they are of no more use."""

from __future__ import annotations

import asyncio
import resource
import ssl
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from core.errors import UnavailableError
from tests.certificates import self_signed
from tests.transceiver.backends.realtime.calls import calling
from tests.transceiver.backends.realtime.server import Line, run, serving, talkative
from tests.transceiver.http_kit import serving as http_serving


def test_the_key_goes_into_its_header_and_the_model_into_the_query(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.touch(0o600)
    key.write_text("sk-one\n")

    async def scenario() -> None:
        settings: dict[str, Any] = {"models": {"fast": "qwen"}, "model": "other", "subprotocol": "realtime"}
        async with (
            serving(talkative) as server,
            calling(server.url + "?v=1", key_file=str(key), **settings) as calls,
        ):
            await calls.call(model="fast").told("session.created")
            key.write_text("sk-two\n")
            await calls.call(model="unknown").told("session.created")
            first, second = (line.request for line in server.lines)
            assert first.headers["Authorization"] == "Bearer sk-one"
            assert second.headers["Authorization"] == "Bearer sk-two"
            assert [dict(each.query) for each in (first, second)] == [
                {"v": "1", "model": "qwen"},
                {"v": "1", "model": "other"},
            ]
            assert first.headers["Sec-WebSocket-Protocol"] == "realtime"
            assert server.lines[0].received[0]["type"] == "session.update"
            assert "model" not in server.lines[0].received[0]["session"]

    run(scenario())


def test_azures_key_has_a_header_of_its_own(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.touch(0o600)
    key.write_text("abc")

    async def scenario() -> None:
        settings: dict[str, Any] = {"key_file": str(key), "key_header": "api-key", "dialect": "beta"}
        async with serving(talkative) as server, calling(server.url, **settings) as calls:
            await calls.call().told("session.created")
            headers = server.lines[0].request.headers
            assert headers["api-key"] == "abc"
            assert headers["OpenAI-Beta"] == "realtime=v1"
            assert "Authorization" not in headers

    run(scenario())


def test_a_key_is_not_carried_to_where_a_server_points(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.touch(0o600)
    key.write_text("abc")

    async def scenario() -> None:
        async with serving(talkative) as elsewhere:
            app = web.Application()

            async def point(_: web.Request) -> web.Response:
                return web.Response(status=307, headers={"Location": elsewhere.url.replace("ws:", "http:")})

            app.router.add_get("/", point)
            settings: dict[str, Any] = {"key_file": str(key), "key_header": "api-key"}
            settings |= {"reconnect_s": 0, "answer_timeout_s": 1}
            async with http_serving(app) as port, calling(f"ws://127.0.0.1:{port}/", **settings) as calls:
                call = calls.call()
                await call.until(lambda: bool(call.ended))
            assert elsewhere.lines == []

    run(scenario())


@pytest.mark.slow
@pytest.mark.parametrize("is_trusted", [True, False])
def test_tls_is_for_who_is_trusted(tmp_path: Path, is_trusted: bool) -> None:
    certificate = self_signed(tmp_path)

    async def scenario() -> None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*certificate)
        settings: dict[str, Any] = {"ca_file": str(certificate[0])} if is_trusted else {}
        settings |= {"reconnect_s": 0, "answer_timeout_s": 2}
        async with (
            serving(talkative, tls=context) as server,
            calling(server.url.replace("ws:", "wss:"), **settings) as calls,
        ):
            call = calls.call()
            await call.until(lambda: bool(call.events or call.ended))
            assert (call.kinds(), len(server.lines)) == (["session.created"], 1) if is_trusted else ([], 0)

    run(scenario())


@pytest.mark.parametrize("key", ["key_file", "ca_file"])
def test_a_file_that_cannot_be_used_is_told_at_the_start(tmp_path: Path, key: str) -> None:
    async def scenario() -> None:
        async with calling("ws://127.0.0.1/", **{key: str(tmp_path / "none")}):
            pass

    with pytest.raises(UnavailableError, match=r"none.* cannot be "):
        run(scenario())


def test_garbage_is_borne_for_a_while_and_then_hung_up_on(caplog: pytest.LogCaptureFixture) -> None:
    async def garbage(line: Line) -> None:
        await line.greet()
        for text in ("", "{", "[]", "null", '{"type": 1}', "[" * 100_000, '{"type": "x", "y": NaN}'):
            await line.socket.send_str(text)
        await line.socket.send_bytes(b"\xff" * 100)
        await line.delta("no base64!")
        await line.say("response.created", response={"id": "resp_1"})
        await line.delta("no base64!")
        await line.say("rate_limits.updated", rate_limits=[])
        for _ in range(20):
            await line.socket.send_str("garbage")
        await line.to_the_end()

    async def scenario() -> None:
        async with serving(garbage, talkative) as server, calling(server.url) as calls:
            call = calls.call()
            await call.told("rate_limits.updated")
            assert (await call.told("error"))["error"]["code"] == "backend_lost"  # type: ignore[index]
            assert call.observer.rows == [("garbage",)]
            assert "session rtc_test lost its backend: garbage, " in caplog.text
            await call.told("output_audio_buffer.stopped")

    run(scenario())


def test_a_message_of_ten_megabytes_is_refused_and_costs_no_memory(caplog: pytest.LogCaptureFixture) -> None:
    async def huge(line: Line) -> None:
        await line.greet()
        await line.say("response.created", response={"id": "resp_1"})
        await line.delta("A" * 10_000_000)
        await line.to_the_end()

    async def scenario() -> None:
        async with serving(huge, talkative) as server, calling(server.url) as calls:
            call = calls.call()
            await call.told("error")
            assert call.observer.rows == [("too_big",)]
            assert "session rtc_test lost its backend: too_big, " in caplog.text
            assert call.backend.bridge.answers.playout.counts.received == 0
            await call.told("output_audio_buffer.stopped")

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    run(scenario())
    grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown_kib < 80_000, "the server's copies are in this process too"


@pytest.mark.slow
def test_one_that_never_answers_a_ping_is_lost(caplog: pytest.LogCaptureFixture) -> None:
    async def hangs(line: Line) -> None:
        await line.greet()
        await asyncio.Event().wait()  # reads nothing, so answers nothing

    async def scenario() -> None:
        async with serving(hangs, talkative) as server, calling(server.url, ping_interval_s=1) as calls:
            call = calls.call()
            await call.told("session.created")
            await call.told("error")
            assert call.observer.rows == [("no_pong",)]
            assert "session rtc_test lost its backend: no_pong, " in caplog.text
            await call.told("output_audio_buffer.stopped")

    run(scenario())

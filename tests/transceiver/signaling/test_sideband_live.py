"""transceiver.signaling.sideband for GPT-Live: `…/attach`, by whichever process it reaches."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest

from tests.transceiver.descriptions import CHROMIUM
from tests.transceiver.host_kit import CALLS, Host
from tests.transceiver.signaling.live import LIVE_SESSIONS, MODEL, make, socket
from tests.transceiver.signaling.sidebands import KEY, PATIENCE_S, event, run
from tests.transceiver.signaling.test_secret_requests import secret

EIGHT = range(8)
"""Connections, to either of two processes."""


def test_a_server_attaches_steers_and_hears_of_the_end(host: Host) -> None:
    path = make(host, {**MODEL, "instructions": "Be brief."})

    async def scenario() -> None:
        for _ in EIGHT:
            async with socket(host, path + "/attach?graceful_close=true") as opened:
                started = await event(opened, "session.started")
                assert started["session"]["id"] == path.rpartition("/")[2]
                assert started["session"]["instructions"] == "Be brief."
                await opened.send_json({"type": "session.input_audio.mute", "event_id": "m"})
                assert (await event(opened, "session.input_audio.muted"))["client_event_id"] == "m"
                await opened.send_json({"type": "session.thinking.append", "event_id": "t", "content": "x"})
                error = (await event(opened, "error"))["error"]
                assert (error["code"], error["client_event_id"]) == ("unknown_event", "t"), "it is a parrot"
        async with socket(host, path + "/attach/") as opened, socket(host, path + "/attach") as other:
            await event(other, "session.started")
            await opened.send_json({"type": "session.close", "event_id": "bye"})
            for each in (opened, other):
                closed = await event(each, "session.closed")
                assert (closed["reason"], closed["client_event_id"]) == ("close_requested", "bye")
                closing = await each.receive(timeout=PATIENCE_S)
                assert (closing.type, closing.data) == (aiohttp.WSMsgType.CLOSE, 1000)
        assert host.request("GET", path).status == 404

    run(scenario())


def test_a_hang_up_is_told_to_who_has_attached(host: Host) -> None:
    async def scenario() -> None:
        for tail, method in (("", "DELETE"), ("/hangup", "POST")):
            path = make(host)
            async with socket(host, path + "/attach") as opened:
                await event(opened, "session.started")
                await asyncio.to_thread(host.request, method, path + tail)
                assert (await event(opened, "session.closed"))["reason"] == "close_requested"

    run(scenario())


def test_who_may_not_attach_is_told_so(host: Host) -> None:
    path, call = make(host), host.call(CHROMIUM)
    value = secret(host)
    call_id = call.rpartition("/")[2]

    async def refused(where: str, key: str | None = "alice") -> int:
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            async with socket(host, where, key):
                pass
        return caught.value.status

    async def scenario() -> None:
        assert await refused(path + "/attach", "bob") == 404
        assert await refused(path + "/attach", None) == 401
        assert await refused(f"{LIVE_SESSIONS}/{call_id}/attach") == 404, "it is a call of the other API"
        assert await refused(f"/v1/realtime?call_id={path.rpartition('/')[2]}") == 404
        async with socket(host, path + "/attach", None, ("realtime", KEY + value)) as page:
            await event(page, "session.started")

    run(scenario())
    plain = host.request("GET", path + "/attach")
    assert (plain.status, plain.code) == (426, "http_no_upgrade")
    for each in (path, call):
        assert host.request("DELETE", each).status == 200
    assert CALLS in call

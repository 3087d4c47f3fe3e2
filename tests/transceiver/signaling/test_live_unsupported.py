"""transceiver.signaling.live_unsupported: what GPT-Live has and nobody here can do is refused by name."""

from __future__ import annotations

import json

import aiohttp
import pytest

from tests.transceiver.host_kit import Host
from tests.transceiver.signaling.kit import JSON
from tests.transceiver.signaling.live import LIVE_SESSIONS, MODEL, socket
from tests.transceiver.signaling.sidebands import KEY, PATIENCE_S, run
from transceiver.signaling.live_unsupported import UNSUPPORTED

SOME = f"{LIVE_SESSIONS}/live_0-x"
START = {"type": "session.start", "event_id": "mine", "session": MODEL}


@pytest.mark.parametrize(("method", "name"), [*UNSUPPORTED, ("GET", "fork")], ids=str)
def test_a_request_is_told_why(host: Host, method: str, name: str) -> None:
    for end in ("", "/"):
        refused = host.request(method, f"{SOME}/{name}{end}", "{}" if method == "POST" else None, JSON)
        assert (refused.status, refused.code) == (422, "http_not_supported")
        assert refused.text.find("here") > 0
    assert host.request(method, f"{SOME}/{name}", key=None).status == 401


@pytest.mark.parametrize("path", [LIVE_SESSIONS, LIVE_SESSIONS + "/", SOME + "/fork"])
def test_a_websocket_is_told_by_an_event_that_clients_show(host: Host, path: str) -> None:
    async def scenario() -> None:
        async with socket(host, path, None, ("realtime", KEY + host.keys["alice"])) as opened:
            assert opened.protocol == "realtime"
            await opened.send_json(START)
            told = json.loads(await opened.receive_str(timeout=PATIENCE_S))
            assert (told["type"], told["client_event_id"]) == ("error", "mine")
            assert told["error"]["code"] == "not_supported"
            assert told["error"]["client_event_id"] == "mine"
            closing = await opened.receive(timeout=PATIENCE_S)
            assert (closing.type, closing.data) == (aiohttp.WSMsgType.CLOSE, 1008)
        for said in ("no event", "{}"):
            async with socket(host, path) as opened:
                await opened.send_str(said)
                told = json.loads(await opened.receive_str(timeout=PATIENCE_S))
                assert "client_event_id" not in told
        async with socket(host, path):
            pass  # it goes without a word
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            async with socket(host, path, None):
                pass
        assert caught.value.status == 401

    run(scenario())

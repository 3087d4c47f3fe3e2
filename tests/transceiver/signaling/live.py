"""GPT-Live sessions as a server makes and watches them, for tests of several modules."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import aiohttp

from tests.transceiver.descriptions import CHROMIUM
from tests.transceiver.host_kit import Host, Response
from tests.transceiver.signaling.kit import JSON

LIVE_SESSIONS = "/v1/live/sessions"
MODEL = {"model": "gpt-live-1"}


def body(session: object = MODEL, sdp: str | None = CHROMIUM, **transport: object) -> str:
    return json.dumps({"session": session, "transport": {"type": "webrtc", "sdp": sdp, **transport}})


def post(
    host: Host,
    text: str,
    key: str | None = "alice",
    path: str = LIVE_SESSIONS,
    headers: Mapping[str, str] = JSON,
) -> Response:
    return host.request("POST", path, text, headers, key)


def make(host: Host, session: object = MODEL, key: str = "alice") -> str:
    """A session; its path."""
    response = post(host, body(session), key)
    assert response.status == 201, response.text
    return response.headers["Location"]


@asynccontextmanager
async def socket(
    host: Host, path: str, key: str | None = "alice", protocols: tuple[str, ...] = ()
) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    """A WebSocket at a path, over a connection of its own. Raises WSServerHandshakeError."""
    headers = {} if key is None else {"Authorization": f"Bearer {host.keys.get(key, key)}"}
    url = f"http://{host.address}:{host.http}{path}"
    async with (
        aiohttp.ClientSession() as client,
        client.ws_connect(url, headers=headers, protocols=protocols) as opened,
    ):
        yield opened

"""What of GPT-Live's paths nobody here can do: refused by name, so that nobody looks for a mistake of theirs.

Over a WebSocket the refusal is an event. Clients show those, and little of an HTTP response that is none of
101.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Final

import aiohttp
from aiohttp import web

from transceiver.live.events import error_event
from transceiver.realtime.client_events import decode_event_untrusted
from transceiver.realtime.server_events import shortened
from transceiver.signaling.calls import Calls
from transceiver.signaling.refusals import HttpReason, Refusal
from transceiver.signaling.shapes import LIVE_SESSIONS
from transceiver.signaling.sideband import MAX_MESSAGE_BYTES
from transceiver.signaling.websockets import CLOSE_TIMEOUT_S, is_websocket, protocols_of

FIRST_EVENT_S: Final = 10.0
"""What a client has for the event that is to be refused."""
NOT_RECORDED: Final = "Sessions are not recorded here, so there is nothing to {}."
ONLY_SIP: Final = "This is for SIP, which is not served here."
UNSUPPORTED: Final[Mapping[tuple[str, str], str]] = {
    ("POST", "fork"): NOT_RECORDED.format("fork"),
    ("GET", "content"): NOT_RECORDED.format("download"),
    ("POST", "accept"): ONLY_SIP,
    ("POST", "reject"): ONLY_SIP,
    ("POST", "refer"): ONLY_SIP,
}
"""By method and end of the path below a session's."""
BY_WEBRTC: Final = (
    f"Audio goes over WebRTC here: make the session by POST {LIVE_SESSIONS}, then attach to it."
)


async def refuse(request: web.Request) -> web.StreamResponse:
    """The handler for all of `UNSUPPORTED`. Raises Refusal."""
    what = UNSUPPORTED[request.method, request.path.rstrip("/").rpartition("/")[2]]
    raise Refusal(422, HttpReason.NOT_SUPPORTED, what)


async def refuse_socket(request: web.Request, why: str) -> web.StreamResponse:
    """Answer the first event of a WebSocket by an `error` that names it, and close. Raises Refusal."""
    socket = web.WebSocketResponse(
        protocols=protocols_of(request),
        max_msg_size=MAX_MESSAGE_BYTES,
        compress=False,
        timeout=CLOSE_TIMEOUT_S,
    )
    await socket.prepare(request)
    named: str | None = None
    try:
        async with asyncio.timeout(FIRST_EVENT_S):
            message = await socket.receive()
    except TimeoutError:
        pass  # it is told all the same
    else:
        event = decode_event_untrusted(message.data) if message.type is aiohttp.WSMsgType.TEXT else None
        named = None if event is None else shortened(event.get("event_id"))
    error = {"type": "invalid_request_error", "code": "not_supported", "message": why}
    try:
        await socket.send_str(json.dumps(error_event("event_refused", error, named)))
    except ConnectionError:
        return socket  # it has gone without waiting
    await socket.close(code=aiohttp.WSCloseCode.POLICY_VIOLATION, message=b"not_supported")
    return socket


def register_unsupported(router: web.UrlDispatcher, calls: Calls) -> None:
    """Beside the routes of `calls`; `GET` where sessions are made is for both."""

    async def primary(request: web.Request) -> web.StreamResponse:
        return (
            await refuse_socket(request, BY_WEBRTC)
            if is_websocket(request)
            else await calls.endpoint(request)
        )

    async def fork(request: web.Request) -> web.StreamResponse:
        if is_websocket(request):
            return await refuse_socket(request, UNSUPPORTED["POST", "fork"])
        raise Refusal(422, HttpReason.NOT_SUPPORTED, UNSUPPORTED["POST", "fork"])

    for end in ("", "/"):
        router.add_get(LIVE_SESSIONS + end, primary)
        router.add_get(f"{LIVE_SESSIONS}/{{id}}/fork{end}", fork)
        for method, name in UNSUPPORTED:
            router.add_route(method, f"{LIVE_SESSIONS}/{{id}}/{name}{end}", refuse)

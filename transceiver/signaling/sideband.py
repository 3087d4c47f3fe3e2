"""Sidebands: `GET /v1/realtime?call_id=rtc_…` and `GET /v1/live/sessions/live_…/attach`, a WebSocket by which
a server watches and steers a call.

It may come to any process of any host of the cluster. The owner of the call serves it; any other passes the
messages on, to its sibling's Unix socket or to the call's host, as it does with requests.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

import aiohttp
from aiohttp import web

from transceiver.observer import Observer
from transceiver.realtime.client_events import MAX_EVENT_CHARS
from transceiver.session.session import Session
from transceiver.signaling.calls import IS_LIMITED, Calls
from transceiver.signaling.outbox import Outbox
from transceiver.signaling.refusals import HttpReason, Refusal
from transceiver.signaling.shapes import LIVE_SESSIONS, OLDER_CALLS
from transceiver.signaling.websockets import (
    CALL_ENDED,
    CLOSE_TIMEOUT_S,
    SEND_TIMEOUT_S,
    SIDEBANDS,
    Bridges,
    is_websocket,
    protocols_of,
)

logger = logging.getLogger(__name__)

CALL_ID: Final = "call_id"
HEARTBEAT_S: Final = 20.0
MAX_MESSAGE_BYTES: Final = 4 * MAX_EVENT_CHARS
"""Of UTF-8. What is longer than `MAX_EVENT_CHARS` is answered; what is longer than this ends it."""


class Sidebands:
    """The sidebands of one process."""

    def __init__(self, calls: Calls, observer: Observer, heartbeat_s: float = HEARTBEAT_S) -> None:
        """`heartbeat_s` is the pause between two pings; half of that is what a pong has."""
        self._calls = calls
        self._bridges = Bridges(observer, heartbeat_s)
        self._observer = observer
        self._heartbeat_s = heartbeat_s

    async def open(self, request: web.Request) -> web.StreamResponse:
        """The handler. Raises Refusal."""
        call_id = request.match_info.get("id") or request.query.get(CALL_ID)
        if not is_websocket(request):
            raise Refusal(
                426,
                HttpReason.NO_UPGRADE,
                f"GET {request.path} is for WebSockets; calls are made by POST.",
                {"Upgrade": "websocket", "Connection": "Upgrade"},
            )
        if call_id is None:
            what = "A WebSocket here is for a running call: give its call_id. Calls are made over WebRTC."
            raise Refusal(400, HttpReason.BAD_BODY, what, param=CALL_ID)
        session = self._calls.own_session(request, call_id)
        if session is None:
            return await self._bridges.open(request, self._calls.way_to(request, call_id))
        if not session.events.has_room:
            raise Refusal(429, HttpReason.TOO_MANY_SIDEBANDS, "The call has as many sidebands as it may.")
        return await self._serve(request, session)

    async def _serve(self, request: web.Request, session: Session) -> web.StreamResponse:
        socket = web.WebSocketResponse(
            protocols=protocols_of(request),
            heartbeat=self._heartbeat_s,
            max_msg_size=MAX_MESSAGE_BYTES,
            compress=False,
            timeout=CLOSE_TIMEOUT_S,
        )
        await socket.prepare(request)
        transport = request.transport
        outbox = Outbox(transport.abort if transport is not None else lambda: None)
        is_trusted = not request[IS_LIMITED]
        if not _attach(session, outbox, is_trusted=is_trusted):
            outbox.end()
        sending = asyncio.create_task(_send(socket, outbox))
        try:
            await _receive(socket, outbox, session)
        finally:
            session.events.detach(outbox)
            end = "too_slow" if outbox.is_too_slow else "call_ended" if outbox.is_over else "closed"
            self._observer.count(SIDEBANDS, end)
            await _finish(sending, has_goodbye=outbox.is_over)
        return socket


def _attach(session: Session, outbox: Outbox, *, is_trusted: bool) -> bool:
    """False where it cannot watch; what a backend raises is not the way to say so on a WebSocket."""
    try:
        return session.events.attach(outbox, is_trusted=is_trusted)
    except Exception:
        logger.exception("a sideband of session %s could not be opened", session.id)
        return False


async def _receive(socket: web.WebSocketResponse, outbox: Outbox, session: Session) -> None:
    """Until it is closed by either side."""
    async for message in socket:
        if message.type not in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
            continue
        data = message.data
        text = data if isinstance(data, str) else data.decode(errors="replace")
        try:
            session.events.hear_untrusted(text, outbox)
        except Exception:
            logger.exception("an event of a sideband of session %s failed", session.id)


async def _send(socket: web.WebSocketResponse, outbox: Outbox) -> None:
    """All that is to be sent, then the goodbye. An event of the call's end is sent before it."""
    try:
        while (text := await outbox.next()) is not None:
            async with asyncio.timeout(SEND_TIMEOUT_S):
                await socket.send_str(text)
        await socket.close(code=aiohttp.WSCloseCode.OK, message=CALL_ENDED)
    except TimeoutError:
        outbox.give_up()
    except ConnectionError:
        return  # who receives finds out as well


async def _finish(sending: asyncio.Task[None], *, has_goodbye: bool) -> None:
    """Let a goodbye that is under way be said, within bounds."""
    try:
        if has_goodbye:
            await asyncio.wait({sending}, timeout=2 * CLOSE_TIMEOUT_S)
    finally:
        sending.cancel()
    await asyncio.wait({sending})


def register_sidebands(router: web.UrlDispatcher, sidebands: Sidebands) -> None:
    """On the public port and between siblings."""
    for end in ("", "/"):
        router.add_get(OLDER_CALLS + end, sidebands.open, allow_head=False)
        router.add_get(f"{LIVE_SESSIONS}/{{id}}/attach{end}", sidebands.open, allow_head=False)

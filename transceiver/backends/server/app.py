"""HTTP of the server: who may connect, and how many."""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web

from transceiver.backends.server.connection import Connection
from transceiver.backends.server.contract import ServedBackend
from transceiver.backends.server.exchange import MAX_MESSAGE_CHARS
from transceiver.backends.server.metrics import Metrics

logger = logging.getLogger(__name__)

PATHS = ("/v1/realtime", "/openai/v1/realtime")
"""OpenAI's, and Azure's."""
SUBPROTOCOL = "realtime"
KEY_SUBPROTOCOL = "openai-insecure-api-key."
"""What a browser, which cannot set headers, puts before its key."""
PING_S = 20.0
CLOSE_S = 2.0
MAX_MODEL_CHARS = 128
ID_BYTES = 12

LOOPBACK = re.compile(r"https?://(localhost|127(\.[0-9]{1,3}){3}|\[::1\])(:[0-9]{1,5})?")

KeyOwner = Callable[[str], str | None]
"""Whose an API key is; None for nobody's."""


@dataclass(slots=True)
class Access:
    """Who may connect. Replaced field by field on reload."""

    owner_of: KeyOwner | None
    """None lets everybody in who can reach the port, but for pages of other sites."""
    max_sessions: int


class Server:
    """All connections of one backend. `ping_s` is how long a client may say nothing before it is pinged; it
    has half of that to answer.
    """

    def __init__(self, backend: ServedBackend, access: Access, ping_s: float = PING_S) -> None:
        self.access = access
        self.metrics = Metrics()
        self._ping_s = ping_s
        self._backend = backend
        self._connections: set[Connection] = set()
        self._is_draining = False
        self._empty = asyncio.Event()
        self._empty.set()

    def app(self) -> web.Application:
        """What listens."""
        logging.getLogger("aiohttp.websocket").setLevel(logging.ERROR)  # its warning prints keys
        app = web.Application()
        for path in PATHS:
            app.router.add_get(path, self._connect)
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        return app

    @property
    def sessions(self) -> int:
        """How many there are."""
        return len(self._connections)

    async def emptied(self) -> None:
        """Until there is none."""
        await self._empty.wait()

    def drain(self) -> None:
        """Take no more clients; those that are there stay."""
        self._is_draining = True

    def end_all(self) -> None:
        """End all sessions, each with the reason."""
        for connection in self._connections:
            connection.drain()

    async def _healthz(self, _: web.Request) -> web.Response:
        return web.json_response({"state": "alive", "sessions": self.sessions})

    async def _readyz(self, _: web.Request) -> web.Response:
        reason = self._full()
        return web.json_response({"state": reason or "ready"}, status=503 if reason else 200)

    @property
    def is_ready(self) -> bool:
        """Whether another client would be taken."""
        return self._full() is None

    def summary(self) -> dict[str, object]:
        """For people."""
        return {"state": self._full() or "ready", "sessions": self.sessions}

    def _full(self) -> str | None:
        if self._is_draining:
            return "draining"
        return "full" if self.sessions >= self.access.max_sessions else None

    async def _connect(self, request: web.Request) -> web.StreamResponse:
        refusal = self._refusal(request)
        if refusal is not None:
            return refusal
        offered = _subprotocols(request)
        socket = web.WebSocketResponse(
            protocols=(SUBPROTOCOL,) if SUBPROTOCOL in offered else (),
            heartbeat=self._ping_s,
            timeout=CLOSE_S,
            max_msg_size=MAX_MESSAGE_CHARS,
            compress=False,
        )
        session_id = "sess_" + secrets.token_hex(ID_BYTES)
        connection = Connection(
            socket, self._backend, session_id, _model(request), self._ping_s, self.metrics
        )
        self._connections.add(connection)
        self._empty.clear()
        try:
            await socket.prepare(request)
            end = await connection.run()
            self.metrics.ended(end)
            logger.info("session %s: %s", session_id, end)
        finally:
            self._connections.discard(connection)
            if not self._connections:
                self._empty.set()
            _let_go(request)
        return socket

    def _error(
        self, status: int, code: str, message: str, headers: dict[str, str] | None = None
    ) -> web.Response:
        self.metrics.refused(code)
        return _error(status, code, message, headers)

    def _refusal(self, request: web.Request) -> web.Response | None:
        owner_of, origin = self.access.owner_of, request.headers.get("Origin")
        if owner_of is not None and owner_of(_presented_key(request)) is None:
            message = "Send a valid API key: Authorization: Bearer KEY, api-key: KEY, or the subprotocol."
            return self._error(401, "invalid_api_key", message, {"WWW-Authenticate": "Bearer"})
        if owner_of is None and origin is not None and LOOPBACK.fullmatch(origin) is None:
            return self._error(403, "foreign_origin", "Without keys, pages of other sites may not connect.")
        if "call_id" in request.query or "intent" in request.query:
            message = "This server has conversations alone: ?model=NAME, no call_id and no intent."
            return self._error(400, "unsupported_parameter", message)
        reason = self._full()
        if reason is not None:
            return self._error(503, f"server_{reason}", f"The server is {reason}.", {"Retry-After": "5"})
        return None


def _subprotocols(request: web.Request) -> list[str]:
    return [name.strip() for name in request.headers.get("Sec-WebSocket-Protocol", "").split(",")]


def _presented_key(request: web.Request) -> str:
    scheme, _, key = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return key.strip()
    if "api-key" in request.headers:
        return request.headers["api-key"]
    keys = (name for name in _subprotocols(request) if name.startswith(KEY_SUBPROTOCOL))
    return next(keys, "").removeprefix(KEY_SUBPROTOCOL)


def _model(request: web.Request) -> str:
    """What the client calls it: a server has but one."""
    return request.query.get("model", request.query.get("deployment", ""))[:MAX_MODEL_CHARS]


def _error(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> web.Response:
    """In the shape of the API's."""
    error = {"type": "invalid_request_error", "code": code, "message": message, "param": None}
    return web.json_response({"error": error}, status=status, headers=headers)


def _let_go(request: web.Request) -> None:
    """A peer that does not read would keep its socket, with what is to be sent, for as long as it likes."""
    transport = request.transport
    if isinstance(transport, asyncio.WriteTransport) and transport.get_write_buffer_size():
        transport.abort()

"""WebSockets to a backend: the rim of `backend = "realtime"`. One `Connection` is one socket, with a reader
of its own from the moment it is open, so that one that waits in a pool is seen to close.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NoReturn, Protocol

import aiohttp
from aiohttp import WSMsgType
from yarl import URL

from core.errors import BackendError, ConfigError
from core.service.files import load_password
from transceiver.backends.realtime.dialect import (
    Dialect,
    EventReason,
    decode_server_event_untrusted,
)
from transceiver.backends.realtime.settings import RealtimeSettings
from transceiver.observer import BackendLoss
from transceiver.realtime.event import Event

MAX_INVALID: Final = 16
"""Messages of one connection that are no events; a backend that sends more is not one."""
MAX_EARLY: Final = 16
"""Events that come before anybody listens."""
CLOSE_TIMEOUT_S: Final = 1.0
READS_IN_A_ROW: Final = 32
"""Then others have their turn: a flood that has arrived already does not make the reader wait by itself."""


_CODE: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")


class LinkError(Exception):
    """There is no connection (any more)."""

    def __init__(self, reason: BackendLoss, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


class Listener(Protocol):
    """Who a connection tells. It raises nothing but `BackendError`."""

    def receive_untrusted(self, event: Event, now_ns: int) -> None:
        """An event of the backend's, and when it came."""


class Connection:
    """One open socket. `broken` is set when it is of no more use, and `error` says why."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._listener: Listener | None = None
        self._early: deque[Event] = deque()
        self._invalid = 0
        self.opened_s = asyncio.get_running_loop().time()
        self.has_spoken = asyncio.Event()
        """The backend has sent an event."""
        self.broken = asyncio.Event()
        self.error: LinkError | None = None
        self.complaint = ""
        """The code of an `error`, where that was the backend's last event: why it hangs up, if it does."""
        self._reading = asyncio.create_task(self._read())

    def attach(self, listener: Listener) -> None:
        """Tell of events from now on, and of those that came before."""
        while self._early:
            self._deliver(self._early.popleft(), listener)
        self._listener = listener

    def detach(self) -> None:
        """Tell nobody any more."""
        self._listener = None

    async def send(self, text: str) -> None:
        """One message; waits while the backend does not take any. Raises LinkError."""
        try:
            await self._socket.send_str(text)
        except (aiohttp.ClientError, ConnectionError, RuntimeError) as error:
            raise LinkError(BackendLoss.CLOSED, type(error).__name__) from None

    async def close(self) -> None:
        """Say goodbye, for at most a second. Idempotent."""
        self.detach()
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)
        with contextlib.suppress(TimeoutError, aiohttp.ClientError, ConnectionError):
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._socket.close()

    async def _read(self) -> None:
        try:
            while self.error is None:
                for _ in range(READS_IN_A_ROW):
                    self._take(await self._socket.receive())
                await asyncio.sleep(0)
        except LinkError as error:
            self.error = error
        except Exception as error:  # noqa: BLE001  a mistake in what we make of its events is this call's alone
            loop = asyncio.get_running_loop()
            loop.call_exception_handler({"message": "an event of a backend's failed", "exception": error})
            self.error = LinkError(BackendLoss.CRASHED, type(error).__name__)
        finally:
            self.broken.set()

    def _take(self, message: aiohttp.WSMessage) -> None:
        """Raises LinkError when it was the last."""
        try:
            if message.type is WSMsgType.TEXT:
                self._take_event(decode_server_event_untrusted(message.data))
            elif message.type is WSMsgType.BINARY:
                raise BackendError(EventReason.BINARY)
            elif message.type is WSMsgType.ERROR:
                raise _explain(message.data)
            elif message.type in (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED):
                raise _explain(self._socket.exception(), self._socket.close_code)
        except BackendError as error:
            self._invalid += 1
            if self._invalid > MAX_INVALID:
                raise LinkError(BackendLoss.GARBAGE, str(error.reason)) from None

    def _take_event(self, event: Event) -> None:
        self.has_spoken.set()
        self.complaint = _complaint_untrusted(event)
        if self._listener is not None:
            self._listener.receive_untrusted(event, time.monotonic_ns())
        elif len(self._early) == MAX_EARLY:
            raise LinkError(BackendLoss.GARBAGE, "it talks without being spoken to")
        else:
            self._early.append(event)

    def _deliver(self, event: Event, listener: Listener) -> None:
        try:
            listener.receive_untrusted(event, time.monotonic_ns())
        except BackendError:
            self._invalid += 1


def _complaint_untrusted(event: Event) -> str:
    """The code of an error, fit for a log; nothing where it is another event."""
    error = event.get("error") if event["type"] == "error" else None
    code = (error.get("code") or error.get("type")) if isinstance(error, Mapping) else None
    return code if isinstance(code, str) and _CODE.fullmatch(code) else ""


def _explain(error: BaseException | None, code: int | None = None) -> LinkError:
    if isinstance(error, aiohttp.ServerTimeoutError):
        return LinkError(BackendLoss.NO_PONG, "a ping was not answered")
    code = error.code if isinstance(error, aiohttp.WebSocketError) else code
    if code == aiohttp.WSCloseCode.MESSAGE_TOO_BIG:
        return LinkError(BackendLoss.TOO_BIG, "a message was longer than max_message_kib")
    if isinstance(error, aiohttp.WebSocketError):
        return LinkError(BackendLoss.GARBAGE, f"no WebSocket frame, {code}")
    return LinkError(BackendLoss.CLOSED, f"it closed, {code}" if error is None else type(error).__name__)


class Dialer:
    """Opens connections as the settings say. `start` before, `close` after all of them."""

    def __init__(self, settings: RealtimeSettings) -> None:
        self._settings = settings
        self._http: aiohttp.ClientSession | None = None
        self.where = URL(settings.url).host or ""
        """For the log."""

    async def start(self) -> None:
        """Raises ConfigError when a file cannot be used."""
        ca_file = self._settings.ca_file or None
        try:
            trusted = await asyncio.to_thread(ssl.create_default_context, cafile=ca_file)
        except OSError as error:
            raise ConfigError([f"backend.realtime.ca_file: {ca_file} cannot be used: {error}"]) from None
        await self._headers()
        trace = aiohttp.TraceConfig()
        trace.on_request_redirect.append(_refuse_redirect)
        self._http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=trusted), trace_configs=[trace], trust_env=False
        )

    async def open(self, model: str) -> Connection:
        """A new connection for a model, which may be none. Raises LinkError."""
        assert self._http is not None
        settings = self._settings
        url = URL(settings.url)
        try:
            headers = await self._headers()
        except ConfigError as error:
            raise LinkError(BackendLoss.REFUSED, error.problems[0]) from None
        try:
            async with asyncio.timeout(settings.connect_timeout_s):
                socket = await self._http.ws_connect(
                    url.update_query(model=model) if model else url,
                    headers=headers,
                    protocols=(settings.subprotocol,) if settings.subprotocol else (),
                    heartbeat=settings.ping_interval_s,
                    max_msg_size=settings.max_message_kib * 1024,
                    timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_TIMEOUT_S),
                )
        except aiohttp.WSServerHandshakeError as error:
            raise LinkError(BackendLoss.REFUSED, f"it answered {error.status}") from None
        except TimeoutError:
            raise LinkError(BackendLoss.UNREACHABLE, "no connection in time") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise LinkError(BackendLoss.UNREACHABLE, type(error).__name__) from None
        return Connection(socket)

    async def close(self) -> None:
        """Idempotent."""
        if self._http is not None:
            await self._http.close()

    async def _headers(self) -> dict[str, str]:
        settings = self._settings
        headers = {"User-Agent": "voxpop"}
        if settings.dialect == Dialect.BETA:
            headers["OpenAI-Beta"] = "realtime=v1"
        if settings.key_file:
            key = await asyncio.to_thread(load_password, Path(settings.key_file), ours=True)
            is_bearer = settings.key_header.lower() == "authorization"
            headers[settings.key_header] = f"Bearer {key}" if is_bearer else key
        return headers


async def _refuse_redirect(*_: object) -> NoReturn:
    """The key is for the host that the operator has named, and aiohttp would take most headers along."""
    raise aiohttp.ClientError("redirected")

"""One WebSocket of the server, from its first event to its last: where messages come and go."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Mapping

from aiohttp import ClientConnectionResetError, WSCloseCode, WSMsgType, web

from core.service.tasks import until_one_ends
from transceiver.backends.server.client import Client
from transceiver.backends.server.contract import ServedBackend, ServedSession
from transceiver.backends.server.exchange import Exchange
from transceiver.backends.server.metrics import End, Metrics
from transceiver.backends.server.outbox import Outbox
from transceiver.realtime.errors import CRASHED, DRAINED
from transceiver.realtime.event import Event

logger = logging.getLogger(__name__)

FRAMES_AT_ONCE = 16
"""Of one client's audio, before others have their turn: a millisecond of work."""
GOODBYE_S = 2.0
"""What a client gets to read what still waits for it, and to close."""


CODES = {
    End.LEFT: WSCloseCode.OK,
    End.HUNG_UP: WSCloseCode.OK,
    End.TOO_SLOW: WSCloseCode.POLICY_VIOLATION,
    End.CRASHED: WSCloseCode.INTERNAL_ERROR,
    End.DRAINED: WSCloseCode.GOING_AWAY,
}
"""Of WebSocket (RFC 6455 §7.4.1)."""
LAST_WORDS: dict[End, Event] = {End.CRASHED: CRASHED, End.DRAINED: DRAINED}


class Connection:
    """A client and its session. `drain` ends it from outside. `patience_s` is what a client has to read the
    next message that it is sent.
    """

    def __init__(
        self,
        socket: web.WebSocketResponse,
        backend: ServedBackend,
        session_id: str,
        model: str,
        patience_s: float,
        metrics: Metrics,
    ) -> None:
        self._socket = socket
        self._metrics = metrics
        self._patience_s = patience_s
        self._backend = backend
        self._outbox = Outbox()
        outbox = self._outbox
        self._client = Client(session_id, model, self._put, outbox.is_full, outbox.emptied)
        self._client.took = metrics.stage
        self._drained = asyncio.Event()
        self._end: End | None = None

    async def run(self) -> End:
        """Until one side has had enough. May be cancelled."""
        session: ServedSession | None = None
        try:
            session = self._backend.create(self._client)
            exchange = Exchange(self._client, session)
            exchange.open()
            await until_one_ends(
                self._until(End.LEFT, self._read(exchange)),
                self._until(End.TOO_SLOW, self._write()),
                self._until(End.HUNG_UP, session.run()),
                self._until(End.DRAINED, self._drained.wait()),
            )
        except ClientConnectionResetError:
            self._end = End.LEFT
        except Exception:
            logger.exception("session %s has failed", self._client.session_id)
            self._end = End.CRASHED
        finally:
            if session is not None:
                session.close()
        end = self._end or End.LEFT
        await self._say_goodbye(end)
        return end

    def drain(self) -> None:
        """End it, and tell the client why."""
        self._drained.set()

    def _put(self, event: Event) -> None:
        self._metrics.event("sent" if self._outbox.put(event) else "dropped")
        error = event.get("error")
        if event["type"] == "error" and isinstance(error, Mapping):
            self._metrics.error(error.get("code"))

    async def _until(self, end: End, work: Awaitable[object]) -> None:
        await work
        self._end = self._end or end

    async def _read(self, exchange: Exchange) -> None:
        async for message in self._socket:
            if message.type is WSMsgType.ERROR:
                return
            self._metrics.event("received")
            if message.type is WSMsgType.TEXT:
                exchange.receive_untrusted(message.data, time.monotonic_ns())
            else:
                exchange.refuse_message()
            heard = 0
            while exchange.hear_next(time.monotonic_ns()):
                heard += 1
                if heard % FRAMES_AT_ONCE == 0:
                    await asyncio.sleep(0)
            await self._outbox.emptied()

    async def _write(self) -> None:
        """Until the client is too slow. A full socket is no sign of life: pings wait in it as well, and its
        closing waits until it is empty.
        """
        with contextlib.suppress(TimeoutError):
            while not self._outbox.has_overflowed:
                await self._outbox.filled()
                while (text := self._outbox.take()) is not None:
                    async with asyncio.timeout(self._patience_s):
                        await self._socket.send_str(text)

    async def _say_goodbye(self, end: End) -> None:
        """What waits still goes out, where it is wanted."""
        try:
            async with asyncio.timeout(GOODBYE_S):
                if end not in (End.LEFT, End.TOO_SLOW):
                    if end in LAST_WORDS:
                        self._client.send("error", error=LAST_WORDS[end]["error"])
                    while (text := self._outbox.take()) is not None:
                        await self._socket.send_str(text)
                await self._socket.close(code=CODES[end], message=end.encode())
        except (TimeoutError, ConnectionError) as error:
            logger.debug("session %s: no goodbye: %r", self._client.session_id, error)

"""One call's line to its backend: a connection, or the next one when that is lost. Part of the rim."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from typing import Final, Protocol

from core.service.tasks import until_one_ends
from transceiver.backends.realtime.backoff import Backoff
from transceiver.backends.realtime.connection import Connection, LinkError, Listener
from transceiver.backends.realtime.pool import Pool
from transceiver.backends.realtime.sendqueue import SendQueue
from transceiver.observer import BackendLoss

logger = logging.getLogger(__name__)

STEADY_S: Final = 10.0
"""A connection that lasted so long was a good one: its loss is the first of a new row."""


class CallSide(Listener, Protocol):
    """What a link tells its call."""

    def connected(self) -> None:
        """Another connection is there after `lost`; the first one is not told."""

    def lost(self, reason: BackendLoss) -> None:
        """The connection is gone, and with it all that waited to be sent."""

    def gone(self) -> None:
        """There will be no other one. Nothing comes after this."""


class Link:
    """Begins with its making; `reconnect_s` is how long it tries before it gives up."""

    def __init__(
        self, call: CallSide, pool: Pool, name: str, model: str, reconnect_s: float, answer_timeout_s: float
    ) -> None:
        self._call: CallSide | None = call
        self._connection: Connection | None = None
        self._pool = pool
        self._name = name
        self._model = model
        self._reconnect_s = reconnect_s
        self._answer_timeout_s = answer_timeout_s
        self._queue = SendQueue()
        self._pushed = asyncio.Event()
        self._stalled = asyncio.Event()
        self._running = asyncio.create_task(self._run(call))

    @property
    def task(self) -> asyncio.Task[None]:
        """Done when the link is."""
        return self._running

    def send(self, text: str, is_audio: bool) -> None:
        """Queue a message: never waits."""
        if not self._queue.push(text, is_audio):
            self._stalled.set()
        self._pushed.set()

    def close(self) -> None:
        """Hang up, soon; the call hears of nothing any more. Idempotent."""
        if self._connection is not None:
            self._connection.detach()
        self._call = None
        self._running.cancel()

    def give_up(self) -> None:
        """The call has no line any more."""
        if self._call is not None:
            self._call.gone()

    async def _run(self, call: CallSide) -> None:
        # A task keeps the exception that has cancelled it, and with it all frames: the call would live until
        # a collection.
        with contextlib.suppress(asyncio.CancelledError):
            await self._keep_connected(call)

    async def _keep_connected(self, call: CallSide) -> None:
        backoff = Backoff(random.random)
        loop = asyncio.get_running_loop()
        give_up_s = loop.time() + max(self._reconnect_s, self._answer_timeout_s)
        is_first = True
        while True:
            connection = await self._connect(backoff, give_up_s)
            if connection is None:
                call.gone()
                return
            if not is_first:
                call.connected()
            is_first = False
            began_s = loop.time()
            self._connection = connection
            try:
                error = await self._converse(connection, call)
                self._lose(connection, error, call)
            finally:
                await connection.close()
                self._connection = None
            if loop.time() - began_s >= STEADY_S:
                backoff.reset()
                give_up_s = loop.time() + self._reconnect_s
            await asyncio.sleep(backoff.next_s())

    def _lose(self, connection: Connection, error: LinkError, call: CallSide) -> None:
        """Before the goodbye, which a backend that hangs would draw out."""
        connection.detach()
        said = f"; it had said {connection.complaint}" if connection.complaint else ""
        logger.warning("session %s lost its backend: %s, %s%s", self._name, error.reason, error.detail, said)
        self._queue.clear()
        self._stalled.clear()
        call.lost(error.reason)

    async def _connect(self, backoff: Backoff, give_up_s: float) -> Connection | None:
        """None when it is time to give up."""
        while asyncio.get_running_loop().time() < give_up_s:
            try:
                async with asyncio.timeout_at(give_up_s):
                    return await self._pool.take(self._model)
            except LinkError as error:
                logger.warning("session %s has no backend: %s, %s", self._name, error.reason, error.detail)
            except TimeoutError:
                break
            await asyncio.sleep(backoff.next_s())
        return None

    async def _converse(self, connection: Connection, call: CallSide) -> LinkError:
        """Until it ends, and why."""
        connection.attach(call)
        try:
            await until_one_ends(
                self._send_all(connection),
                self._stall(),
                self._broken(connection),
                self._hear_something(connection),
            )
        except LinkError as error:
            return error
        return LinkError(BackendLoss.CLOSED, "")

    async def _send_all(self, connection: Connection) -> None:
        while True:
            while len(self._queue):
                await connection.send(self._queue.pop())
            self._pushed.clear()
            await self._pushed.wait()

    async def _stall(self) -> None:
        await self._stalled.wait()
        raise LinkError(BackendLoss.STALLED, "it does not take what is sent")

    async def _broken(self, connection: Connection) -> None:
        await connection.broken.wait()
        if connection.error is not None:
            raise connection.error

    async def _hear_something(self, connection: Connection) -> None:
        try:
            async with asyncio.timeout(self._answer_timeout_s):
                await connection.has_spoken.wait()
        except TimeoutError:
            raise LinkError(BackendLoss.SILENT, "it said nothing at all") from None
        await asyncio.Event().wait()

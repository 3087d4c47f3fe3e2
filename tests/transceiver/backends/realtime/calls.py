"""Sessions of `backend = "realtime"` on a real 20 ms clock, without the client's network."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

from core.schema import read_table
from core.service.metrics import Series
from transceiver.backends.base import SessionContext
from transceiver.backends.realtime.backend import RemoteBackend, RemoteBackends
from transceiver.backends.realtime.settings import RealtimeSettings
from transceiver.media import FRAME_BYTES
from transceiver.media.ticker import Ticker
from transceiver.observer import EndReason, NullObserver
from transceiver.realtime.event import Event

PATIENCE_S = 20.0
SILENT = bytes(FRAME_BYTES)


class Counting(NullObserver):
    def __init__(self) -> None:
        self.rows: list[tuple[str, ...]] = []

    def count(self, event: Series, *row: str) -> None:
        self.rows.append(row)


class Call:
    """One session: says `voice` frame by frame, then silence; keeps what it hears and is told."""

    def __init__(self, factory: RemoteBackends, ticker: Ticker, session: Event) -> None:
        self.events: list[Event] = []
        self.heard: list[bytes | None] = []
        self.voice: list[bytes] = []
        self.ended: list[EndReason] = []
        self.observer = Counting()
        self._changed = asyncio.Event()
        context = SessionContext("rtc_test", session, self._take, self.observer, self._end)
        self.backend: RemoteBackend = factory.create(context)
        self.backend.opened()
        self._handle = ticker.add(self._tick)

    def _take(self, event: Event) -> None:
        self.events.append(event)
        self._changed.set()

    def _end(self, reason: EndReason) -> None:
        self.ended.append(reason)
        self.close()
        self._changed.set()

    def _tick(self, now_ns: int) -> None:
        self.backend.hear(self.voice.pop(0) if self.voice else SILENT, now_ns)
        self.heard.append(self.backend.speak(now_ns))
        self._changed.set()

    def say(self, frames: Iterable[bytes]) -> None:
        self.voice += frames

    def send(self, kind: str, **members: object) -> None:
        self.backend.receive_event({"type": kind, **members})

    def close(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self.backend.close()

    def kinds(self) -> list[object]:
        return [event["type"] for event in self.events]

    def audible(self) -> bytes:
        return b"".join(frame for frame in self.heard if frame is not None)

    async def until(self, holds: Callable[[], bool]) -> None:
        """Until something is so; looked at with each event and each frame."""
        async with asyncio.timeout(PATIENCE_S):
            while not holds():
                self._changed.clear()
                await self._changed.wait()

    async def told(self, kind: str, times: int = 1) -> Event:
        await self.until(lambda: self.kinds().count(kind) >= times)
        return next(event for event in reversed(self.events) if event["type"] == kind)


class Calls:
    def __init__(self, factory: RemoteBackends, ticker: Ticker) -> None:
        self.factory = factory
        self._ticker = ticker
        self.made: list[Call] = []

    def call(self, **session: object) -> Call:
        self.made.append(Call(self.factory, self._ticker, session))
        return self.made[-1]


@asynccontextmanager
async def calling(url: str, **settings: Any) -> AsyncIterator[Calls]:
    """A factory as a process has it, and its calls; all are gone afterwards, tasks included."""
    problems: list[str] = []
    table = {"url": url, "connections": 0, **settings}
    read = read_table(RealtimeSettings, table, "backend.realtime", problems)
    assert read is not None, problems
    before = asyncio.all_tasks()
    factory, ticker = RemoteBackends(read), Ticker()
    calls = Calls(factory, ticker)
    try:
        await factory.start()
        yield calls
    finally:
        for call in calls.made:
            call.close()
        await factory.close()
        ticker.close()
    left = [task for task in asyncio.all_tasks() - before if "transceiver/" in repr(task)]
    assert left == []

"""Many calls from one process, begun one after the other, each with a report of its own."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable

import aiohttp

from core.addr import Endpoint
from transceiver.caller.api import Pop, SignalingClient
from transceiver.caller.attempt import INTERRUPTED, attempt
from transceiver.caller.call import Call
from transceiver.caller.errors import CallError
from transceiver.caller.plan import Plan
from transceiver.caller.report import Report, make_report, set_up_ms
from transceiver.caller.summary import Event, EventKind, Summary, summarise
from transceiver.media.ticker import Ticker
from transceiver.transport.certificate import Certificate

HANG_UPS_AT_ONCE = 8
LOOK_UP_S = 2.0
"""For which PoP it is that a call goes through; where the server is gone the report does without."""

Tell = Callable[[Event], None]


class Crowd:
    """`plan.calls` calls, of which `plan.rate` begin in a second. Each has an HTTP connection of its own, as
    clients have. `run` once.
    """

    def __init__(self, plan: Plan, tell: Tell, interrupted: asyncio.Event) -> None:
        self._plan = plan
        self._size = plan.calls or 1
        self._tell = tell
        self._interrupted = interrupted
        self._ticker = Ticker()
        self._certificate = Certificate.generate()
        self._hanging_up = asyncio.Semaphore(HANG_UPS_AT_ONCE)
        self._pops: dict[Endpoint, Pop] = {}
        self._up: dict[int, Call] = {}
        self._tried = 0
        self._connected = 0
        self._lost = 0

    async def run(self) -> Summary:
        """Until all calls are over, or until it is interrupted."""
        try:
            async with asyncio.TaskGroup() as group:
                ends = [group.create_task(self._one(number)) for number in range(self._size)]
        finally:
            self._ticker.close()
        reports = [report for end in ends if (report := end.result()) is not None]
        summary = summarise(reports, self._lost, self._interrupted.is_set())
        self._note(EventKind.SUMMARY, None, **summary.as_json())
        return summary

    def rebind(self) -> None:
        """All calls go on from other ports, as behind a NAT that has forgotten them."""
        for call in self._up.values():
            if call.transport is not None:
                call.transport.rebind()
        self._note(EventKind.REBOUND, None, calls=len(self._up))

    async def _one(self, number: int) -> Report | None:
        """A call from its beginning to its report; None where it did not begin."""
        if await self._is_interrupted_within(number / self._plan.rate):
            return None
        async with aiohttp.ClientSession() as http:
            call = self._new_call(http)
            try:
                error = await attempt(self._talk(number, call), self._interrupted)
                report = await self._report(number, call, error)
            finally:
                self._up.pop(number, None)
                async with self._hanging_up:
                    await call.hang_up()
        return report

    async def _is_interrupted_within(self, seconds: float) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._interrupted.wait()
        return self._interrupted.is_set()

    def _new_call(self, http: aiohttp.ClientSession) -> Call:
        return Call(
            SignalingClient(http, self._plan.url, self._plan.api_key),
            self._ticker,
            self._certificate,
            session=self._plan.session,
            nomination=self._plan.nomination,
            heard_frames=0,
        )

    async def _talk(self, number: int, call: Call) -> None:
        try:
            await call.connect()
        except CallError as error:
            self._count_try(EventKind.FAILED, number, error=str(error))
            raise
        self._up[number] = call
        self._connected += 1
        self._count_try(EventKind.CONNECTED, number, **_set_up(call))
        await self._look_up_pop(call)
        try:
            await call.converse(self._plan.recording, self._plan.turns, self._plan.seconds)
        except CallError as error:
            self._lost += 1
            self._note(EventKind.LOST, number, error=str(error))
            raise
        await self._look_up_pop(call)  # another may have taken over

    async def _look_up_pop(self, call: Call) -> None:
        vip = None if call.transport is None else call.transport.ice.selected
        if vip is None:
            return
        if vip not in self._pops:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_UP_S):
                    await call.look_up_pop()
            if call.record.pop is not None:
                self._pops[vip] = call.record.pop
        call.record.pop = self._pops.get(vip)

    async def _report(self, number: int, call: Call, error: str | None) -> Report:
        """Of a call that was up and is only told to end, the end is no error.

        When all end at once their reports are made at once too, after the sockets were read, and told later:
        else the last would tell of packets that are still in its socket as lost.
        """
        await asyncio.sleep(0)
        is_fine = error == INTERRUPTED and number in self._up
        report = make_report(call, None if is_fine else error)
        await asyncio.sleep(0)
        details = report.as_json()
        del details["events"]  # thousands, of many calls
        self._note(EventKind.REPORT, number, **details)
        return report

    def _count_try(self, kind: EventKind, number: int, **details: object) -> None:
        self._tried += 1
        self._note(kind, number, **details)
        if self._tried == self._size:
            self._note(EventKind.ALL_CONNECTED, None, calls=self._size, connected=self._connected)

    def _note(self, kind: EventKind, number: int | None, **details: object) -> None:
        self._tell(Event(kind, time.monotonic_ns(), number, details))


def _set_up(call: Call) -> dict[str, object]:
    """How long it took, and by which address it goes."""
    assert call.transport is not None
    return {"setup_ms": set_up_ms(call), "vip": str(call.transport.ice.selected)}

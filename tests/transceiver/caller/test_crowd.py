"""Crowds of calls to a real server, and what is told of each."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from tests.transceiver.caller.signaling import CALL, Desk, desk
from tests.transceiver.net import until
from transceiver.caller.crowd import Crowd
from transceiver.caller.ice import Nomination
from transceiver.caller.plan import Plan
from transceiver.caller.report import LATE_NS
from transceiver.caller.sound import default_recording, read_frames
from transceiver.caller.summary import Event, EventKind, Summary
from transceiver.observer import EndReason


class Told:
    """A crowd that runs, and the events that it has told."""

    def __init__(self, at: Desk, plan: Plan) -> None:
        self.at = at
        self.events: list[Event] = []
        self.interrupted = asyncio.Event()
        self.crowd = Crowd(plan, self.events.append, self.interrupted)
        self.running = asyncio.create_task(self.crowd.run())

    def of(self, kind: EventKind) -> list[Event]:
        return [event for event in self.events if event.kind is kind]

    async def all_tried(self) -> None:
        await until(lambda: bool(self.of(EventKind.ALL_CONNECTED)))

    async def end(self) -> Summary:
        self.interrupted.set()
        return await self.running


@asynccontextmanager
async def crowd(
    calls: int, *, rate: float = 100.0, seconds: float = 60.0, spoil: Callable[[str], str] = str
) -> AsyncIterator[Told]:
    """Under way."""
    async with desk(spoil) as (at, api):
        plan = Plan(
            url=api._url,
            api_key=None,
            recording=read_frames(default_recording()),
            turns=None,
            seconds=seconds,
            session={},
            nomination=Nomination.ALWAYS,
            calls=calls,
            rate=rate,
        )
        told = Told(at, plan)
        try:
            yield told
        finally:
            told.interrupted.set()
            await asyncio.wait({told.running})


def test_all_are_told_when_they_are_up_and_when_they_are_over() -> None:
    async def run() -> None:
        async with crowd(5) as told:
            await told.all_tried()
            assert sorted(event.call or 0 for event in told.of(EventKind.CONNECTED)) == [0, 1, 2, 3, 4]
            (tried,) = told.of(EventKind.ALL_CONNECTED)
            assert tried.details == {"calls": 5, "connected": 5}
            summary = await told.end()
            assert (summary.calls, summary.connected, summary.lost) == (5, 5, 0)
            assert summary.was_interrupted
            assert told.at.hung_up == [CALL] * 5
            reports = told.of(EventKind.REPORT)
            assert [report.details["error"] for report in reports] == [None] * 5
            assert all(report.details["quality"] is not None for report in reports)
            assert all("events" not in report.details for report in reports)
            assert told.events[-1].kind is EventKind.SUMMARY
            assert told.events[-1].details["connected"] == 5
            times = [event.at_ns for event in told.events]
            assert times == sorted(times)
            assert times[-1] <= time.monotonic_ns()

    asyncio.run(run())


def test_calls_begin_one_after_the_other() -> None:
    async def run() -> None:
        async with crowd(3, rate=4.0) as told:
            await told.all_tried()
            first, *_, last = sorted(event.at_ns for event in told.of(EventKind.CONNECTED))
            assert last - first > 400_000_000 - 100_000_000, "two pauses of 250 ms, less one call's set-up"

    asyncio.run(run())


def test_what_waits_in_a_socket_while_others_are_reported_is_not_lost() -> None:
    async def run() -> None:
        async with crowd(4) as told:
            await told.all_tried()

            def tell_slowly(event: Event) -> None:
                if event.kind is EventKind.REPORT:
                    time.sleep(LATE_NS / 1e9)
                told.events.append(event)

            told.crowd._tell = tell_slowly
            summary = await told.end()
            assert (summary.connected, summary.packets_lost) == (4, 0)

    asyncio.run(run())


def test_each_ends_when_its_time_is_over() -> None:
    async def run() -> None:
        async with crowd(3, seconds=0.5) as told:
            summary = await told.running
            assert (summary.calls, summary.connected, summary.lost) == (3, 3, 0)
            assert not summary.was_interrupted

    asyncio.run(run())


def test_one_that_the_server_ends_is_lost_and_the_others_go_on() -> None:
    async def run() -> None:
        async with crowd(3) as told:
            await told.all_tried()
            await until(lambda: all(call.record.events for call in told.crowd._up.values()))
            told.at.server.manager.close(told.at.sessions[1], EndReason.TOO_LONG)
            await until(lambda: bool(told.of(EventKind.REPORT)))
            (lost,) = told.of(EventKind.LOST)
            assert str(lost.details["error"]).endswith("(session_expired)")
            (report,) = told.of(EventKind.REPORT)
            assert (report.call, report.details["error"]) == (lost.call, lost.details["error"])
            summary = await told.end()
            assert (summary.connected, summary.lost) == (3, 1)

    asyncio.run(run())


def test_those_that_cannot_be_set_up_are_told_and_count_as_tried() -> None:
    async def run() -> None:
        async with crowd(2, spoil=lambda answer: answer.replace("a=ice-lite\r\n", "")) as told:
            summary = await told.running
            assert [event.call for event in told.of(EventKind.FAILED)] == [0, 1]
            (tried,) = told.of(EventKind.ALL_CONNECTED)
            assert tried.details == {"calls": 2, "connected": 0}
            assert (summary.calls, summary.connected, summary.answered) == (2, 0, 0)

    asyncio.run(run())


def test_those_that_have_not_begun_when_it_is_interrupted_never_do() -> None:
    async def run() -> None:
        async with crowd(50, rate=0.5) as told:
            await until(lambda: bool(told.of(EventKind.CONNECTED)))
            summary = await told.end()
            assert summary.calls == 1
            assert told.of(EventKind.ALL_CONNECTED) == []

    asyncio.run(run())


def test_all_go_on_from_other_ports_when_they_are_told_to() -> None:
    async def run() -> None:
        async with crowd(2) as told:
            await told.all_tried()
            transports = [call.transport for call in told.crowd._up.values()]
            before = [transport.local_address for transport in transports if transport]
            told.crowd.rebind()
            after = [transport.local_address for transport in transports if transport]
            assert len(after) == 2
            assert not set(before) & set(after)
            (rebound,) = told.of(EventKind.REBOUND)
            assert rebound.details == {"calls": 2}
            for transport in transports:
                assert transport is not None
                await transport.next_audio()

    asyncio.run(run())

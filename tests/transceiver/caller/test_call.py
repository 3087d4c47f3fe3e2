"""Whole calls to a real server: what is on record, how they break off, and that they are hung up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from tests.transceiver.caller.signaling import CALL, ID, Desk, desk
from tests.transceiver.net import until
from transceiver.caller.call import Call
from transceiver.caller.errors import CallError, Stage
from transceiver.media.ticker import Ticker
from transceiver.observer import EndReason
from transceiver.transport.certificate import Certificate


@asynccontextmanager
async def calling(spoil: Callable[[str], str] = str) -> AsyncIterator[tuple[Desk, Call]]:
    """A call that is still to be connected."""
    async with desk(spoil) as (at, api):
        ticker = Ticker()
        call = Call(api, ticker, Certificate.generate())
        try:
            yield at, call
        finally:
            await call.hang_up()
            ticker.close()


def test_a_call_is_on_record_and_hung_up_once() -> None:
    async def run() -> None:
        async with calling() as (at, call):
            await call.connect()
            await until(lambda: call.record.events and len(call.record.heard) > 5)
            record = call.record
            assert record.offered_ns is not None
            assert record.answered_ns is not None
            assert record.offered_ns < record.answered_ns
            assert (record.session_id, record.ice_lite) == (ID, True)
            assert record.events[0].type == "session.created"
            assert record.events[0].at_ns > record.answered_ns
            await call.run_for(0.05)
            assert await call.hang_up()
            assert not await call.hang_up()
            assert at.hung_up == [CALL]
            await until(lambda: at.server.counts.ended == [EndReason.REMOTE_CLOSED])

    asyncio.run(run())


def failed(spoil: Callable[[str], str]) -> tuple[CallError, list[str]]:
    """Why there was no call, and what was hung up all the same."""

    async def run() -> tuple[CallError, list[str]]:
        async with calling(spoil) as (at, call):
            with pytest.raises(CallError) as caught:
                await call.connect()
            await call.hang_up()
            return caught.value, at.hung_up

    return asyncio.run(run())


def test_an_answer_that_cannot_be_used_fails_at_signaling() -> None:
    error, hung_up = failed(lambda answer: answer.replace("a=rtcp-mux\r\n", ""))
    assert error.stage is Stage.SIGNALING
    assert str(error).startswith("signaling: the answer cannot be used: ")
    assert hung_up == [CALL], "the server has a session for it"


def test_only_lite_servers_are_called() -> None:
    error, hung_up = failed(lambda answer: answer.replace("a=ice-lite\r\n", ""))
    assert error.stage is Stage.ICE
    assert hung_up == [CALL]


def test_a_call_that_the_server_ends_breaks_off_with_its_reason() -> None:
    async def run() -> None:
        async with calling() as (at, call):
            await call.connect()
            await until(lambda: call.record.events)
            at.server.manager.close(at.sessions[0], EndReason.TOO_LONG)
            with pytest.raises(CallError, match=r"conversation: the call broke off: .* \(session_expired\)$"):
                await call.run_for(20.0)

    asyncio.run(run())


def test_hanging_up_what_was_never_placed_is_nothing() -> None:
    async def run() -> None:
        async with calling() as (at, call):
            assert not await call.hang_up()
            assert at.hung_up == []

    asyncio.run(run())

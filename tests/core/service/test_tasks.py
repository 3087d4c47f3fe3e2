"""Coroutines that live and end together."""

from __future__ import annotations

import asyncio
from contextlib import AbstractContextManager, nullcontext

import pytest

from core.service.tasks import beside, until_one_ends


class Life:
    """One that waits to be cancelled, and takes a moment to end."""

    def __init__(self) -> None:
        self.has_begun = asyncio.Event()
        self.has_ended = False

    async def live(self) -> None:
        self.has_begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            self.has_ended = True


@pytest.mark.parametrize("fault", [None, ValueError("why")])
def test_all_end_with_the_first_and_its_fault_is_told(fault: ValueError | None) -> None:
    async def scenario() -> None:
        lives = [Life(), Life()]

        async def end() -> None:
            for life in lives:
                await life.has_begun.wait()
            if fault is not None:
                raise fault

        told: AbstractContextManager[object] = (
            nullcontext() if fault is None else pytest.raises(ValueError, match="why")
        )
        with told:
            await until_one_ends(*(life.live() for life in lives), end())
        assert all(life.has_ended for life in lives)

    asyncio.run(scenario())


def test_all_are_cancelled_with_it() -> None:
    async def scenario() -> None:
        lives = [Life(), Life()]
        together = asyncio.create_task(until_one_ends(*(life.live() for life in lives)))
        for life in lives:
            await life.has_begun.wait()
        together.cancel()
        with pytest.raises(asyncio.CancelledError):
            await together
        assert all(life.has_ended for life in lives)

    asyncio.run(scenario())


def test_what_runs_beside_ends_with_the_block() -> None:
    async def scenario() -> None:
        life = Life()
        async with beside(life.live(), "no more of it"):
            await life.has_begun.wait()
            assert not life.has_ended
        assert life.has_ended

    asyncio.run(scenario())


def test_a_fault_beside_is_told_and_the_block_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    async def fail() -> None:
        raise ValueError("why")

    async def scenario() -> None:
        async with beside(fail(), "no more of it"):
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert [record.getMessage() for record in caplog.records] == ["no more of it: why"]

    asyncio.run(scenario())

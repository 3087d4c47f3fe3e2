"""Coroutines that live and end together."""

from __future__ import annotations

import asyncio
from contextlib import AbstractContextManager, nullcontext

import pytest

from core.service.tasks import until_one_ends


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

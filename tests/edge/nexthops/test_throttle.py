"""Pauses between looks at the network: who may cut them short, and how often."""

from __future__ import annotations

import asyncio

import pytest

from edge.nexthops.throttle import PAUSE_S, QUICK_LOOKS, ResyncThrottle


async def begun(pace: ResyncThrottle, *, is_awaited: bool = False) -> asyncio.Task[None]:
    pause = asyncio.create_task(pace.pause(is_awaited=is_awaited))
    for _ in range(5):
        await asyncio.sleep(0)
    return pause


async def seconds_of(pause: asyncio.Task[None]) -> float:
    loop = asyncio.get_running_loop()
    began = loop.time()
    await pause
    return loop.time() - began


def test_who_begins_to_wait_does_not_wait_for_a_pause_to_end() -> None:
    async def run() -> None:
        pace = ResyncThrottle()
        pause = await begun(pace)
        assert not pause.done()
        pace.expedite()
        assert await seconds_of(pause) < PAUSE_S / 2

    asyncio.run(run())


def test_who_begins_to_wait_during_a_look_finds_no_pause() -> None:
    async def run() -> None:
        pace = ResyncThrottle()
        pace.expedite()
        assert (await begun(pace)).done()
        assert not (await begun(pace)).done(), "once"

    asyncio.run(run())


@pytest.mark.parametrize("is_awaited", [True, False])
def test_a_storm_is_slowed_down(is_awaited: bool) -> None:
    async def run() -> None:
        pace = ResyncThrottle()
        for _ in range(QUICK_LOOKS):
            pace.expedite()
        await pace.pause(is_awaited=False)
        pace.expedite()
        assert await seconds_of(await begun(pace, is_awaited=is_awaited)) > PAUSE_S / 2
        pace.refill()
        assert await seconds_of(await begun(pace, is_awaited=True)) < PAUSE_S / 2
        pace.expedite()
        assert (await begun(pace)).done()

    asyncio.run(run())

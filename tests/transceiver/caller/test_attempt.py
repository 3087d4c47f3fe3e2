"""Tries that are broken off."""

from __future__ import annotations

import asyncio

import pytest

from transceiver.caller.attempt import INTERRUPTED, attempt
from transceiver.caller.errors import CallError, Stage


def test_what_goes_well_is_nothing_to_tell() -> None:
    async def fine() -> None:
        await asyncio.sleep(0)

    async def run() -> str | None:
        return await attempt(fine(), asyncio.Event())

    assert asyncio.run(run()) is None


def test_what_fails_is_told_in_its_words() -> None:
    async def fail() -> None:
        raise CallError(Stage.ICE, "nobody")

    async def run() -> str | None:
        return await attempt(fail(), asyncio.Event())

    assert asyncio.run(run()) == "ice: nobody"


def test_an_interruption_cancels_and_waits_for_it() -> None:
    undone = []

    async def hang(began: asyncio.Event) -> None:
        try:
            began.set()
            await asyncio.get_running_loop().create_future()
        finally:
            undone.append(True)

    async def run() -> str | None:
        began = asyncio.Event()
        interrupted = asyncio.Event()
        trying = asyncio.create_task(attempt(hang(began), interrupted))
        await began.wait()
        interrupted.set()
        return await trying

    assert asyncio.run(run()) == INTERRUPTED
    assert undone


def test_a_mistake_of_ours_is_raised() -> None:
    async def crash() -> None:
        raise KeyError("ours")

    async def run() -> str | None:
        return await attempt(crash(), asyncio.Event())

    with pytest.raises(KeyError, match="ours"):
        asyncio.run(run())

"""Processes that recognise: shared, lost, replaced."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from core.errors import UnavailableError
from tests.rights import only, rights
from tests.sound import frames
from tests.transceiver.backends.clerk.kit import words
from transceiver.backends.clerk.recognizer import Recognizer, Recognizers


@asynccontextmanager
async def recognizers(count: int) -> AsyncIterator[Recognizers]:
    made = Recognizers(count)
    await made.start()
    try:
        yield made
    finally:
        await made.close()


async def heard(recognizer: Recognizer, text: str) -> str:
    for frame in frames(words(text)):
        await recognizer.hear(frame)
    return await recognizer.end()


@pytest.mark.slow
def test_one_recogniser_serves_one_after_the_other() -> None:
    async def scenario() -> None:
        async with recognizers(1) as shared:

            async def caller(text: str) -> str:
                async with shared.one() as recognizer:
                    return await heard(recognizer, text)

            said = ("what time is it", "call me robert")
            assert await asyncio.gather(*map(caller, said)) == list(said)
            async with shared.one() as recognizer:
                await recognizer.hear(frames(words("call me robert"))[20])
                await recognizer.forget()
                assert await heard(recognizer, "what time is it") == "what time is it"

    asyncio.run(scenario())


@pytest.mark.slow
def test_all_of_them_hear_words_between_digital_silence() -> None:
    async def scenario() -> None:
        async with recognizers(6) as shared, contextlib.AsyncExitStack() as stack:
            for _ in range(6):
                recognizer = await stack.enter_async_context(shared.one())
                assert await heard(recognizer, "call me robert") == "call me robert"

    asyncio.run(scenario())


@pytest.mark.slow
def test_one_that_nobody_waits_for_any_more_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        waits, read_line = asyncio.Event(), Recognizer._line

        async def line(recognizer: Recognizer) -> str:
            waits.set()
            return await read_line(recognizer)

        monkeypatch.setattr(Recognizer, "_line", line)
        before = processes_of_ours()
        starting = asyncio.create_task(Recognizer.start())
        await waits.wait()
        assert len(processes_of_ours() - before) == 1
        starting.cancel()
        await asyncio.wait({starting})
        assert starting.cancelled()
        assert not processes_of_ours() - before

    asyncio.run(scenario())


def processes_of_ours() -> set[str]:
    each = Path("/proc/self/task").glob("*/children")
    return {pid for file in each for pid in file.read_text().split()}


@pytest.mark.slow
def test_one_that_dies_or_is_left_in_the_middle_is_replaced() -> None:
    async def scenario() -> None:
        async with recognizers(1) as shared:

            async def lose_one() -> None:
                async with shared.one() as recognizer:
                    os.kill(recognizer._process.pid, signal.SIGKILL)
                    await recognizer.end()

            left: list[Recognizer] = []

            async def leave_one() -> None:
                async with shared.one() as recognizer:
                    left.append(recognizer)
                    await recognizer.hear(frames(words("call"))[0])
                    raise ZeroDivisionError

            with pytest.raises(UnavailableError, match="has ended"):
                await lose_one()
            with pytest.raises(ZeroDivisionError):
                await leave_one()
            assert left[0]._process.returncode is not None
            async with shared.one() as recognizer:
                assert await heard(recognizer, "what time is it") == "what time is it"
                if os.geteuid() == 0:
                    assert rights(recognizer._process.pid) == only()

    asyncio.run(scenario())

"""Coroutines that live and end together."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Coroutine
from typing import Any

logger = logging.getLogger(__name__)


async def until_one_ends(*together: Coroutine[Any, Any, None]) -> None:
    """Run them side by side until the first has ended; the others are cancelled, and waited for.

    Raises what it has raised. May be cancelled, and all of them are.
    """
    tasks = {asyncio.create_task(each) for each in together}
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@contextlib.asynccontextmanager
async def beside(one: Coroutine[Any, Any, None], lost: str) -> AsyncIterator[None]:
    """Run one for as long as the block, which can do without. What it raises is logged at once, behind
    `lost`, which says what there is none of from then on.
    """

    def tell_end(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            logger.error("%s: %s", lost, task.exception(), exc_info=task.exception())

    task = asyncio.create_task(one)
    task.add_done_callback(tell_end)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

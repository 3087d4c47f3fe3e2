"""Coroutines that live and end together."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


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

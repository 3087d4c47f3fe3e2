"""One try at something that a signal may break off, and what came of it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine

from core.errors import VoxpopError

INTERRUPTED = "interrupted"


async def attempt(talk: Coroutine[object, object, None], interrupted: asyncio.Event) -> str | None:
    """What went wrong with `talk`, in a line: None where nothing did, `INTERRUPTED` where it was cut short.

    Raises what is no `VoxpopError`.
    """
    talking = asyncio.create_task(talk)
    stopping = asyncio.create_task(interrupted.wait())
    await asyncio.wait({talking, stopping}, return_when=asyncio.FIRST_COMPLETED)
    for task in (talking, stopping):
        task.cancel()
    outcome, _ = await asyncio.gather(talking, stopping, return_exceptions=True)
    if isinstance(outcome, VoxpopError):
        return str(outcome)
    if isinstance(outcome, asyncio.CancelledError):
        return INTERRUPTED
    if outcome is not None:
        raise outcome
    return None

"""Memory goes back to the machine once the calls are over."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from transceiver.host import memory

BLOCKS = 30_000
BLOCK_BYTES = 2_000


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def test_what_a_burst_took_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small blocks below one that stays are what glibc keeps by itself."""
    monkeypatch.setattr(memory, "IDLE_CHECK_S", 0.01)

    async def scenario() -> None:
        calls = [1]
        tidying = asyncio.create_task(memory.give_back_when_idle(lambda: calls[0], lambda: 1))
        burst = [bytearray(BLOCK_BYTES) for _ in range(BLOCKS)]
        stays = bytearray(BLOCK_BYTES)
        del burst
        await asyncio.sleep(0.1)
        kept = resident_bytes()
        calls[0] = 0
        async with asyncio.timeout(20.0):
            while resident_bytes() > kept - BLOCKS * BLOCK_BYTES // 2:  # noqa: ASYNC110 - the kernel's number
                await asyncio.sleep(0.01)
        assert stays
        tidying.cancel()

    asyncio.run(scenario())

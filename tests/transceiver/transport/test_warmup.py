"""The call of a process with itself."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from core.errors import UnavailableError
from transceiver.transport import warmup


def test_it_comes_through_and_leaves_nothing_behind() -> None:
    async def run() -> None:
        await warmup.warm_up()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    before = len(list(Path("/proc/self/fd").iterdir()))
    asyncio.run(run())
    assert len(list(Path("/proc/self/fd").iterdir())) <= before


def test_a_handshake_that_does_not_come_through_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warmup, "TIMEOUT_S", 0.01)
    monkeypatch.setattr(warmup.End, "send_dtls", lambda self, datagram: None)
    with pytest.raises(UnavailableError, match="handshake"):
        asyncio.run(warmup.warm_up())

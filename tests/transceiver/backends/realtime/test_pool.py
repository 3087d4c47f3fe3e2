"""Connections that are there before anybody calls."""

from __future__ import annotations

import pytest

from tests.transceiver.backends.realtime.calls import calling
from tests.transceiver.backends.realtime.server import run, serving, talkative
from tests.transceiver.net import until
from transceiver.backends.realtime import pool as pool_module


@pytest.mark.slow
def test_a_call_takes_a_connection_that_is_open_already() -> None:
    async def scenario() -> None:
        async with serving(talkative) as server, calling(server.url, connections=2) as calls:
            pool = calls.factory._pool
            assert pool is not None
            call = calls.call()
            await call.told("output_audio_buffer.stopped")
            await call.until(lambda: pool.idle == 2)
            opened = list(server.lines)
            another = calls.call()
            await another.told("output_audio_buffer.stopped")
            assert sum(bool(line.received) for line in opened) == 2, "both calls are among those"

    run(scenario())


def test_another_is_dialled_only_when_the_call_that_took_one_has_been_set_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for pause in ("REFILL_AFTER_S", "CHECK_S"):
        monkeypatch.setattr(pool_module, pause, 3600)

    async def scenario() -> None:
        async with serving(talkative) as server, calling(server.url, connections=1) as calls:
            pool = calls.factory._pool
            assert pool is not None
            await until(lambda: pool.idle == 1)
            await calls.call().told("output_audio_buffer.stopped")
            assert pool.idle == 0
            assert len(server.lines) == 1

    run(scenario())

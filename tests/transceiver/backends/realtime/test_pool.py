"""Connections that are there before anybody calls."""

from __future__ import annotations

import pytest

from tests.transceiver.backends.realtime.calls import calling
from tests.transceiver.backends.realtime.server import run, serving, talkative


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

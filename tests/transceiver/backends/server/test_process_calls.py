"""A caller by WebRTC, a transceiver, and a backend in another process: what was said comes back."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp
import numpy as np
import pytest
from yarl import URL

from tests.sound import frames, likeness_in_pieces, silence, speech
from tests.transceiver.backends.server.test_process import process
from tests.transceiver.host_kit import CALLS, Host
from tests.transceiver.net import PATIENCE_S, until
from transceiver.caller.api import SignalingClient
from transceiver.caller.call import Call
from transceiver.media import SAMPLE_RATE
from transceiver.media.ticker import Ticker
from transceiver.transport.certificate import Certificate


async def conversation(host: Host) -> Call:
    """A call in which the test sentence is said and heard out."""
    ticker, said = Ticker(), speech()
    async with aiohttp.ClientSession() as http, asyncio.timeout(PATIENCE_S):
        api = SignalingClient(http, URL(f"http://127.0.0.1:{host.http}{CALLS}"), host.keys["alice"])
        call = Call(api, ticker, Certificate.generate())
        try:
            await call.connect()
            await until(lambda: call.record.events)
            whole = np.concatenate([said, silence(500)])
            await call.converse(frames(whole), 1, 2 * len(said) / SAMPLE_RATE + 3)
        finally:
            await call.hang_up()
            ticker.close()
    return call


@pytest.mark.slow
def test_a_caller_is_answered_by_the_parrot_in_its_own_process(tmp_path: Path) -> None:
    with process() as (_, url):
        tables = f'[backend.realtime]\nurl = "{url}"\nmodel = "parrot"\n'
        with Host(tmp_path, {"backend": '"realtime"'}, processes=1, tables=tables, is_reachable=True) as host:
            record = asyncio.run(conversation(host)).record
    kinds = [event.type for event in record.events]
    for kind in ("session.created", "output_audio_buffer.started", "response.done"):
        assert kind in kinds
    assert "error" not in kinds
    assert likeness_in_pieces(speech(), np.frombuffer(b"".join(record.heard), "<i2")) > 0.5

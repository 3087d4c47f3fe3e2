"""A caller by WebRTC, a transceiver, and a backend in another process: what was said comes back."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest

from tests.sound import frames, likeness_in_pieces, silence, speech
from tests.transceiver.backends.server.test_process import process
from tests.transceiver.host_calls import calling
from tests.transceiver.host_kit import Host
from tests.transceiver.net import until
from transceiver.caller.call import Call
from transceiver.media import SAMPLE_RATE


async def conversation(host: Host) -> Call:
    """A call in which the test sentence is said and heard out."""
    said = speech()
    async with calling(host) as call:
        await until(lambda: call.record.events)
        whole = np.concatenate([said, silence(500)])
        await call.converse(frames(whole), 1, 2 * len(said) / SAMPLE_RATE + 3)
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

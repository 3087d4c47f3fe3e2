"""The server of docs/backends.md, as it stands there: run, and talked to."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.pages import block
from tests.paths import ROOT
from tests.ports import free_tcp_port
from tests.processes import end
from tests.transceiver.backends.server.kit import talking
from transceiver.media import SAMPLE_RATE


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    file = tmp_path / "beeper.py"
    file.write_text(block("docs/backends.md", file.name))
    command = [sys.executable, str(file), f"127.0.0.1:{free_tcp_port()}"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as started:
        try:
            assert started.stdout is not None
            yield started.stdout.readline().strip()
        finally:
            assert end(started) == 130


def test_the_server_of_the_page_beeps_a_second(url: str) -> None:
    async def scenario() -> None:
        async with talking(url) as talk:
            created = (await talk.until("session.created"))["session"]
            assert isinstance(created, dict)
            assert created["audio"]["input"]["turn_detection"] is None
            await talk.append(bytes(2 * SAMPLE_RATE * 3))
            await talk.ask("input_audio_buffer.commit", "input_audio_buffer.committed")
            done = (await talk.ask("response.create", "response.done"))["response"]
            assert isinstance(done, dict)
            assert done["output"][0]["content"][0]["transcript"] == "1 2 3 "
            heard = np.frombuffer(talk.audio(), "<i2").reshape(6, -1)
            assert [bool(np.abs(part).max() > 7_000) for part in heard] == [True, False] * 3
            error = (await talk.ask("response.cancel", "error", event_id="mine"))["error"]
            assert isinstance(error, dict)
            assert error["event_id"] == "mine"

    asyncio.run(scenario())

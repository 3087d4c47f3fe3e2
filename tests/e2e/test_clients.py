"""The clients of docs/clients.md that need no browser, as they stand there, through a relay."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.decoding import decode
from tests.e2e.kit import LEAST_LIKENESS, metric, running
from tests.pages import block, only
from tests.paths import TESTS
from tests.sound import likeness_in_pieces, silence, speech, write_wav
from transceiver.demo.host import LocalHost
from transceiver.signaling.apikeys import create_api_key

pytestmark = pytest.mark.slow

PAGE = "docs/clients.md"
ENDED = "voxpop_transceiver_sessions_ended_total"
PATIENCE_S = 60


async def run(host: LocalHost, folder: Path, key: str, *command: str | Path) -> str:
    """A program in `folder`, with what the page says that each needs; what it has printed."""
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=folder,
        env={**os.environ, "VOXPOP_URL": host.plan.url, "VOXPOP_KEY": key},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(PATIENCE_S):
        printed, _ = await process.communicate()
    assert process.returncode == 0, printed.decode()
    return printed.decode()


def test_clients_of_the_page_call_and_hang_up(tmp_path: Path) -> None:
    keys = "api-keys.toml"
    key = create_api_key(tmp_path / keys, "shop")

    async def scenario() -> None:
        async with running(tmp_path, transceiver={"open": False, "api_keys_file": keys}, processes=1) as host:
            await python(host)
            await curl(host)
            assert await metric(host.plan.transceiver_metrics, ENDED, reason="hangup") == 2

    async def python(host: LocalHost) -> None:
        (tmp_path / "call.py").write_text(block(PAGE, "call.py"))
        write_wav(tmp_path / "question.wav", np.concatenate((speech(), silence(2_000))))
        printed = await run(host, tmp_path, key, sys.executable, "call.py", "question.wav", "answer.wav")
        kinds = [line.split()[0] for line in printed.splitlines()]
        assert kinds[0] == "session.created"
        assert kinds[-1] == "output_audio_buffer.stopped"
        assert "error" not in kinds
        assert likeness_in_pieces(speech(), decode((tmp_path / "answer.wav").read_bytes())) > LEAST_LIKENESS

    async def curl(host: LocalHost) -> None:
        shutil.copy(TESTS / "captures/chromium-lite.offer.sdp", tmp_path / "offer.sdp")
        (steps,) = [each for each in only(PAGE, "sh") if "offer.sdp" in each]
        printed = await run(host, tmp_path, key, "bash", "-euo", "pipefail", "-c", steps)
        assert str(host.plan.vips[0].port) in printed

    asyncio.run(scenario())

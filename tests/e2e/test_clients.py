"""The clients of docs/clients.md that need no browser, as they stand there, through a relay."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from pathlib import Path

import pytest

from tests.decoding import decode
from tests.e2e.clients import PAGE, Server, serving
from tests.e2e.kit import LEAST_LIKENESS
from tests.pages import block, only
from tests.paths import TESTS
from tests.sound import likeness_in_pieces, speech, write_wav

pytestmark = pytest.mark.slow

SIGNALING = "docs/signaling.md"


def test_clients_of_the_page_call_and_hang_up(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving(tmp_path) as server:
            await python(server)
            await curl(server)
            await first_request_of_signaling(server)
            await client_secret_of_signaling(server)
            assert await server.ended("hangup") == 2

    async def python(server: Server) -> None:
        (server.folder / "call.py").write_text(block(PAGE, "call.py"))
        write_wav(server.folder / "question.wav", speech())
        printed = await server.run(sys.executable, "call.py", "question.wav", "answer.wav")
        kinds = [line.split()[0] for line in printed.splitlines()]
        assert kinds[0] == "session.created"
        assert kinds[-1] == "output_audio_buffer.stopped"
        assert "error" not in kinds
        heard = decode((server.folder / "answer.wav").read_bytes())
        assert likeness_in_pieces(speech(), heard) > LEAST_LIKENESS

    async def curl(server: Server) -> None:
        shutil.copy(TESTS / "captures/chromium-lite.offer.sdp", server.folder / "offer.sdp")
        (steps,) = [each for each in only(PAGE, "sh") if "offer.sdp" in each]
        printed = await server.run("bash", "-euo", "pipefail", "-c", steps)
        assert str(server.host.plan.vips[0].port) in printed

    async def first_request_of_signaling(server: Server) -> None:
        printed = await server.run("bash", "-c", of_signaling(server, "offer.sdp"))
        assert printed.partition("\r\n")[0].split()[1] == "201"
        assert "a=ice-lite" in printed

    async def client_secret_of_signaling(server: Server) -> None:
        printed = await server.run("bash", "-c", of_signaling(server, "client_secrets"))
        (shown,) = [each for each in only(SIGNALING, "json") if "ek_…" in each]
        made, told = json.loads(printed), json.loads(shown)
        session = told["session"] | {"id": made["session"]["id"]}
        assert made.keys() == told.keys()
        assert made["session"] == made["session"] | session, "the page leaves out, and makes nothing up"
        assert made["session"].keys() > session.keys(), "the defaults"

    asyncio.run(scenario())


def of_signaling(server: Server, word: str) -> str:
    """The command of docs/signaling.md that has this word, for that server, and without a progress meter."""
    (command,) = [each for each in only(SIGNALING, "sh") if word in each]
    command = command.replace("http://127.0.0.1:8080", server.url).replace("vpk_…", server.key)
    return f"{command.strip()} --no-progress-meter"

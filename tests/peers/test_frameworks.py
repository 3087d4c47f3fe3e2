"""Agents of LiveKit's and Pipecat's before our backends: realtime models by WebSocket, only the URL set.

Each runs in its own process and environment, `tests/peers/frameworks`, and tells what came of it.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.peers.front import backend
from tests.processes import output_of
from tests.sound import Samples, find, speech, write_wav
from tests.transceiver.backends.clerk.kit import words
from tests.transceiver.backends.server.kit import samples

PYTHON = Path(sys.prefix) / "frameworks" / "bin" / "python"
ROOT = Path(__file__).parents[2]
SCENE_TIMEOUT_S = 120.0
NEVER_S = 3600
HEARD_MS = 1000
"""What a scene hears of an answer before it speaks over it, and no less."""
LONG = "repeat alligator september butterfly telephone washington elephant"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a client told in the end."""

    seen: dict[str, list[Any]]
    history: list[list[Any]]
    heard: Samples

    def said(self, role: str) -> list[str]:
        return [text for who, text in self.history if who == role]


async def play(client: str, *arguments: str) -> Outcome:
    """A scene by that client. Killed when it takes too long."""
    told = await output_of(
        *(str(PYTHON), "-m", f"tests.peers.frameworks.{client}", *arguments),
        cwd=ROOT,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        timeout_s=SCENE_TIMEOUT_S,
    )
    outcome = json.loads(told)
    heard = samples(base64.b64decode(outcome.pop("heard")))
    return Outcome(heard=heard, **outcome)


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a caller's sentences are, as NAME.wav."""
    folder = tmp_path_factory.mktemp("sounds")
    said = {"time": "what time is it", "repeat": LONG, "name": "call me robert", "who": "who am i"}
    for name, text in said.items():
        write_wav(folder / f"{name}.wav", words(text))
    write_wav(folder / "speech.wav", speech())
    return folder


def test_an_agent_of_livekit_runs_its_tool_is_interrupted_and_rewrites_its_history(
    tmp_path: Path, sounds: Path
) -> None:
    async def scenario(url: str) -> Outcome:
        said = (f"say:{sounds}/time.wav", f"say:{sounds}/repeat.wav", f"over:{sounds}/name.wav")
        return await play("livekit_agent", url, str(NEVER_S), *said, "type:repeat what I write", "rewrite")

    with backend("clerk", tmp_path) as url:
        outcome = asyncio.run(scenario(url.replace("ws://", "http://").removesuffix("/realtime")))
    assert "error" not in outcome.seen
    assert len(outcome.seen["tool"]) == 1
    assert outcome.said("assistant")[0] == "It is half past two."
    assert outcome.said("assistant")[2:] == ["Hello, Robert.", "What i write."]
    asked = outcome.said("user")
    assert (asked[0], asked[1][:7], *asked[2:]) == (
        "what time is it",
        "repeat ",
        "call me robert",
        "repeat what I write",
    )
    assert outcome.seen["truncated"] == [pytest.approx(outcome.seen["interrupted"][0], abs=1)]
    assert outcome.seen["interrupted"][0] >= HEARD_MS
    rewritten = [text for who, text in outcome.seen["rewritten"] if who == "user"]
    assert rewritten == [asked[1], "call me oliver", *asked[2:]]


def test_an_agent_of_livekit_takes_its_conversation_to_a_new_connection(tmp_path: Path, sounds: Path) -> None:
    async def scenario(url: str) -> Outcome:
        steps = (f"say:{sounds}/name.wav", "reconnect", f"say:{sounds}/who.wav")
        return await play("livekit_agent", url, "8", *steps)

    with backend("clerk", tmp_path) as url:
        outcome = asyncio.run(scenario(url.replace("ws://", "http://").removesuffix("/realtime")))
    assert "error" not in outcome.seen
    assert outcome.said("assistant") == ["Hello, Robert.", "Robert."]


def test_an_agent_of_livekit_hears_what_the_parrot_has_heard(tmp_path: Path, sounds: Path) -> None:
    with backend("parrot", tmp_path) as url:
        outcome = asyncio.run(play("livekit_agent", url, str(NEVER_S), f"say:{sounds}/speech.wav"))
    assert "error" not in outcome.seen
    assert find(speech(), outcome.heard).likeness > 0.99


def test_a_bot_of_pipecat_runs_its_tool_is_interrupted_and_survives_a_missing_item(
    tmp_path: Path, sounds: Path
) -> None:
    async def scenario(url: str) -> Outcome:
        said = (f"say:{sounds}/time.wav", f"say:{sounds}/repeat.wav", f"over:{sounds}/name.wav")
        return await play("pipecat_bot", url, "type:repeat what I write", *said)

    with backend("clerk", tmp_path) as url:
        outcome = asyncio.run(scenario(url))
    assert "error" not in outcome.seen
    assert outcome.seen["tool"] == [{}]
    assert outcome.said("assistant")[:2] == ["What i write.", "It is half past two."]
    assert outcome.said("assistant")[3:] == ["Hello, Robert."]
    assert len(outcome.seen["interrupted"]) == 1
    assert outcome.seen["truncate"][0] >= HEARD_MS
    assert "item_of_nobody" in outcome.seen["refused"][0]


def test_a_bot_of_pipecat_hears_what_the_parrot_has_heard(tmp_path: Path, sounds: Path) -> None:
    with backend("parrot", tmp_path) as url:
        outcome = asyncio.run(play("pipecat_bot", url, f"say:{sounds}/speech.wav"))
    assert "error" not in outcome.seen
    assert find(speech(), outcome.heard).likeness > 0.8

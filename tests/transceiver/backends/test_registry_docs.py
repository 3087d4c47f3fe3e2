"""The backend of docs/backends.md, as it stands there: installed, configured, called."""

from __future__ import annotations

import asyncio
import re
import tomllib
from pathlib import Path

import numpy as np
import pytest

from tests.paths import ROOT
from tests.sound import frames, likeness_in_pieces, speech
from tests.transceiver.backends.packages import install
from tests.transceiver.host_calls import calling
from tests.transceiver.host_kit import Host
from tests.transceiver.net import until
from transceiver.caller.call import Call
from transceiver.caller.sound import is_audible
from transceiver.media import FRAME_MS, SAMPLE_RATE

PAGE = (ROOT / "docs" / "backends.md").read_text()
MAX_LINES = 40


def block(language: str, number: int = 0) -> str:
    blocks: list[str] = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    return blocks[number]


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    """A transceiver that has the page's package beside it and the page's configuration in its own."""
    site = tmp_path / "site"
    site.mkdir()
    project = tomllib.loads(block("toml", 0))["project"]
    (entry_point,) = project["entry-points"]["voxpop.backends"].values()
    install(
        site,
        project["name"],
        project["entry-points"]["voxpop.backends"],
        {entry_point.partition(":")[0]: block("python")},
        project["version"],
    )
    monkeypatch.setenv("PYTHONPATH", str(site))
    chosen, tables = block("toml", 1).split("\n\n")
    name = tomllib.loads(chosen)["transceiver"]["backend"]
    return Host(tmp_path, {"backend": f'"{name}"'}, processes=1, tables=tables, is_reachable=True)


def test_it_is_short() -> None:
    lines = [line for line in block("python").splitlines() if line.strip()]
    assert len(lines) <= MAX_LINES


@pytest.mark.slow
def test_a_caller_hears_himself_later_and_is_told_what_an_echo_does_not_do(host: Host) -> None:
    said = speech()
    delay_ms = tomllib.loads(block("toml", 1))["backend"]["echo"]["delay_ms"]

    async def scenario() -> Call:
        async with calling(host) as call:
            assert call.transport is not None
            await until(lambda: call.record.events)
            call.transport.send_event('{"type": "response.create", "event_id": "mine"}')
            await until(lambda: len(call.record.events) == 2)
            call.record.heard.clear()
            await call.converse(frames(said), 1, len(said) / SAMPLE_RATE + delay_ms / 1000 + 1)
            return call

    with host:
        record = asyncio.run(scenario()).record
    assert [event.type for event in record.events] == ["session.created", "error"]
    error = record.events[1].event["error"]
    assert isinstance(error, dict)
    assert (error["code"], error["event_id"]) == ("unknown_event", "mine")
    heard = np.frombuffer(b"".join(record.heard), "<i2")
    assert likeness_in_pieces(said, heard) > 0.5
    first = next(index for index, frame in enumerate(record.heard) if is_audible(frame))
    assert first * FRAME_MS >= delay_ms

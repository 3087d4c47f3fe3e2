"""The backend of docs/backends.md, as it stands there: installed, configured, called."""

from __future__ import annotations

import asyncio
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

from core.errors import ConfigError
from tests.environments import environment_with
from tests.pages import block, only
from tests.sound import frames, likeness_in_pieces, speech
from tests.transceiver.backends.packages import install
from tests.transceiver.host_calls import calling
from tests.transceiver.host_kit import Host
from tests.transceiver.net import until
from transceiver.backends.registry import choose
from transceiver.caller.call import Call
from transceiver.caller.sound import is_audible
from transceiver.media import FRAME_MS, SAMPLE_RATE

PAGE = "docs/backends.md"
SOURCE = "voxpop_echo.py"
CODE = block(PAGE, SOURCE)
CONFIGURATION = only(PAGE, "toml")[1]
MAX_LINES = 40


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Where the page's package is installed."""
    folder = tmp_path / "site"
    folder.mkdir()
    project = tomllib.loads(block(PAGE, "pyproject.toml"))["project"]
    offered = project["entry-points"]["voxpop.backends"]
    (entry_point,) = offered.values()
    module = entry_point.partition(":")[0]
    assert f"{module}.py" == SOURCE
    install(folder, project["name"], offered, {module: CODE}, project["version"])
    return folder


@pytest.fixture
def host(site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    """A transceiver that has the page's package beside it and the page's configuration in its own."""
    monkeypatch.setattr(sys, "executable", environment_with(site, tmp_path))
    chosen, tables = CONFIGURATION.split("\n\n")
    name = tomllib.loads(chosen)["transceiver"]["backend"]
    return Host(tmp_path, {"backend": f'"{name}"'}, processes=1, tables=tables, is_reachable=True)


def test_it_is_short() -> None:
    lines = [line for line in CODE.splitlines() if line.strip()]
    assert len(lines) <= MAX_LINES


def test_faults_are_told_in_the_words_of_the_page(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(site)
    with pytest.raises(ConfigError) as refused:
        choose("ecko", {"echo": {"delay": 500}})
    monkeypatch.delitem(sys.modules, SOURCE.removesuffix(".py"))
    told = "\n".join(refused.value.problems) + "\n"
    assert told in only(PAGE, "")


@pytest.mark.slow
def test_a_caller_hears_himself_later_and_is_told_what_an_echo_does_not_do(host: Host) -> None:
    said = speech()
    delay_ms = tomllib.loads(CONFIGURATION)["backend"]["echo"]["delay_ms"]

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

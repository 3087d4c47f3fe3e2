"""The soak itself, in small. What hours are for, memory that grows slowly, is `make soak`'s: in a minute
pools still fill, so that is told here and not judged (docs/decisions/0443-a-soak-in-two-sizes.md).
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.paths import ROOT
from tests.processes import end
from tests.soak.bars import MEMORY, judge, render
from tests.soak.soak import Found, Plan, soak

pytestmark = pytest.mark.slow

SHORT = Plan(seconds=45.0, calls=4, cut_every_s=6.0, processes=1)


def test_calls_over_a_websocket_leave_nothing_behind(say: Callable[[str], None]) -> None:
    bars = judge(asyncio.run(soak(SHORT, print)))
    say(next(f"memory within a minute: {bar.seen}" for bar in bars if bar.name == MEMORY))
    assert all(bar.is_met for bar in bars), render(bars)


def test_a_soak_that_is_broken_off_before_its_first_call_is_told_as_well() -> None:
    async def scenario() -> Found:
        playing = asyncio.create_task(soak(SHORT, print))
        asyncio.get_running_loop().call_soon(playing.cancel)
        return await playing

    found = asyncio.run(scenario())
    assert (found.is_whole, found.tally.calls) == (False, 0)
    assert "MISSED" in render(judge(found))


def test_ctrl_c_ends_a_soak_and_tells_what_was_seen(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.soak.run", "5", "2"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        assert any("calls begin" in line for line in process.stdout)
        process.send_signal(signal.SIGINT)
        said = process.stdout.read()
        assert process.wait() == 130
    finally:
        end(process)
        process.stdout.close()
    assert "everybody hangs up" in said
    assert "Traceback" not in said
    told = json.loads((tmp_path / "soak.json").read_text())
    assert not told["found"]["is_whole"]
    assert not told["found"]["left"]

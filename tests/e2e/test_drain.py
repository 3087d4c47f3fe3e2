"""Drains by the operator's verbs, with a real call going on through a real relay and a real transceiver."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.kit import PATIENCE_S, Callers, callers, is_answered, metric, running
from tests.paths import ROOT
from transceiver.caller.call import Call
from transceiver.caller.errors import CallError
from transceiver.demo.host import CONFIG_FILE, LocalHost

pytestmark = pytest.mark.slow


async def verb(folder: Path, *arguments: str) -> Any:
    """What it says, as JSON; the last of its lines."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "voxpop", *arguments, "--json", "--config", str(folder / CONFIG_FILE)),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(PATIENCE_S):
        out, _ = await process.communicate()
    assert process.returncode == 0
    return json.loads(out.splitlines()[-1])


async def until_refused(crowd: Callers, host: LocalHost, reason: str) -> None:
    """Processes hear of a drain of theirs a moment later, and of one of a PoP's within seconds: a caller who
    comes before that has been led to a PoP that turns it away.
    """
    refusals = "voxpop_transceiver_http_refusals_total"
    async with asyncio.timeout(PATIENCE_S):
        while not await metric(host.plan.transceiver_metrics, refusals, reason=reason):
            with contextlib.suppress(CallError):
                await crowd.call().connect()
            await asyncio.sleep(0.1)


async def until_taken(crowd: Callers) -> Call:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            call = crowd.call()
            try:
                await call.connect()
            except CallError:
                await asyncio.sleep(0.1)
            else:
                return call


def test_a_call_goes_on_through_drains_of_its_transceiver_and_of_its_relay(tmp_path: Path) -> None:
    async def run() -> None:
        async with running(tmp_path) as host, callers(host) as crowd:
            call = crowd.call()
            await call.connect()
            await is_answered(call)
            for daemon, reason in (("transceiver", "draining"), ("relay", "no_pop")):
                assert (await verb(tmp_path, "drain", daemon))["left"] >= 1
                await until_refused(crowd, host, reason)
                await is_answered(call)
                assert (await verb(tmp_path, "undrain", daemon))["state"] == "ready"
                await is_answered(await until_taken(crowd))
            await is_answered(call)

    asyncio.run(run())


def test_a_call_that_outlasts_the_drain_is_told_and_ended(tmp_path: Path) -> None:
    async def run() -> None:
        async with running(tmp_path) as host, callers(host) as crowd:
            call = crowd.call()
            await call.connect()
            await is_answered(call)
            status = await verb(tmp_path, "drain", "transceiver", "--for", "0", "--wait")
            assert (status["left"], status["drain"]["is_done"]) == (0, True)
            assert call.transport is not None
            async with asyncio.timeout(PATIENCE_S):
                assert "(server_shutting_down)" in await call.transport.ended
            codes = [heard.event["error"] for heard in call.record.events if heard.type == "error"]
            assert [error["code"] for error in codes if isinstance(error, dict)] == ["server_shutting_down"]
            assert call.transport.path is not None
            assert call.transport.path.remote_left, "RTCP's BYE came"

    asyncio.run(run())

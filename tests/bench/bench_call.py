"""Set-up time of a call on loopback, by stage: from POST to the first audio packet back."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

import aiohttp

from tests.bench.result import Figure, percentile
from transceiver.caller.api import SignalingClient, calls_url
from transceiver.caller.call import Call
from transceiver.caller.report import Setup, make_report
from transceiver.demo_host import LocalHost, plan_host
from transceiver.media.ticker import Ticker
from transceiver.peer import Certificate

CALLS = 30
WARM_UP = 3
TARGET_MS = 20.0
STAGES = {
    "total": "POST → first audio",
    "signaling": "POST → answer",
    "ice": "answer → first check answered",
    "dtls": "first check answered → keys",
    "audio": "keys → first audio",
}


def run() -> list[Figure]:
    """Two transceiver processes, two relay workers, `CALLS` calls one after the other."""
    setups = asyncio.run(_measure())
    figures = []
    for stage, meaning in STAGES.items():
        values = [getattr(setup, f"{stage}_ms") for setup in setups]
        for percent in (50, 95):
            target = TARGET_MS if (stage, percent) == ("total", 50) else None
            figures.append(
                Figure(
                    f"set-up p{percent}, {meaning}",
                    percentile(values, percent),
                    "ms",
                    at_most=target,
                    note=f"voxpop call, {CALLS} calls",
                )
            )
    return figures


async def _measure() -> list[Setup]:
    with tempfile.TemporaryDirectory(prefix="voxpop-bench-") as folder:
        host = LocalHost(plan_host(), Path(folder))
        try:
            await host.start()
            return [await _set_up(host.plan.url) for _ in range(WARM_UP + CALLS)][WARM_UP:]
        finally:
            await host.stop()


async def _set_up(url: str) -> Setup:
    """As a new `voxpop call` does it: with its own HTTP connection and clock."""
    ticker = Ticker()
    async with aiohttp.ClientSession() as http:
        call = Call(SignalingClient(http, calls_url(url), None), ticker, Certificate.generate())
        try:
            await call.connect()
            return make_report(call, None).setup
        finally:
            await call.hang_up()
            ticker.close()

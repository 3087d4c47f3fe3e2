"""Set-up time of a call on loopback, by stage: from POST to the first audio packet back."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import aiohttp

from core.compare import percentile
from tests.bench.result import Figure
from tests.browser.driver import Browser, Chromium, browser
from tests.sound import SPEECH
from transceiver.caller.api import SignalingClient, calls_url
from transceiver.caller.call import Call
from transceiver.caller.report import make_report
from transceiver.demo.host import LocalHost, plan_host
from transceiver.media.ticker import Ticker
from transceiver.transport.certificate import Certificate
from transceiver.transport.warmup import warm_up

CALLS = 30
WARM_UP = 3
STAGES = ("total", "signaling", "ice", "dtls", "audio")
"""POST → first audio, of it: → answer → first check answered → keys → first audio."""
TARGETS_MS = {"voxpop call": 20.0, "Chromium": 80.0}
"""Of the median. A server on stock aiortc, measured on a 2-core machine: 111 and 140 ms."""

Setup = Mapping[str, float]

CALL_ONCE = """
const { Call } = await import('/call.js');
window.microphone ??= await navigator.mediaDevices.getUserMedia({ audio: true });
const call = new Call({ key: '', session: {} });
const audible = new Promise((resolve, reject) => {
  call.addEventListener('setup', ({ detail }) => detail.total && resolve(detail));
  setTimeout(() => reject(new Error(`no audio: ${JSON.stringify(call.setup)}`)), 20000);
});
await call.start(window.microphone);
const setup = await audible;
call.hangUp();
return setup;
"""


def run() -> list[Figure]:
    """Two transceiver processes, two relay workers; calls one after the other."""
    clients = asyncio.run(_measure())
    return [figure for client, setups in clients.items() for figure in _figures(client, setups)]


def _figures(client: str, setups: Sequence[Setup]) -> list[Figure]:
    figures = []
    for stage in STAGES:
        values = [setup[stage] for setup in setups]
        for percent in (50, 95):
            target = TARGETS_MS[client] if (stage, percent) == ("total", 50) else None
            name = f"set-up with {client}, {stage}, p{percent}"
            figures.append(Figure(name, percentile(values, percent), "ms", at_most=target))
    return figures


async def _measure() -> dict[str, Sequence[Setup]]:
    with tempfile.TemporaryDirectory(prefix="voxpop-bench-") as folder:
        host = LocalHost(plan_host(transceiver_settings={"max_loop_lag_ms": 10_000}), Path(folder))
        try:
            await host.start()
            await warm_up()
            ours = [await _set_up(host.plan.url) for _ in range(WARM_UP + CALLS)]
            async with browser(Chromium, Path(folder), SPEECH) as page:
                theirs = await _set_up_in(page, host.plan.url)
        finally:
            await host.stop()
    return {"voxpop call": ours[WARM_UP:], "Chromium": theirs[WARM_UP:]}


async def _set_up(url: str) -> Setup:
    """As a new `voxpop call` does it: with its own HTTP connection and clock."""
    ticker = Ticker()
    async with aiohttp.ClientSession() as http:
        call = Call(SignalingClient(http, calls_url(url), None), ticker, Certificate.generate())
        try:
            await call.connect()
            setup = make_report(call, None).setup
        finally:
            await call.hang_up()
            ticker.close()
    return {stage: getattr(setup, f"{stage}_ms") for stage in STAGES}


async def _set_up_in(page: Browser, url: str) -> Sequence[Setup]:
    """The calls of one page. `ice` and `dtls` end when the browser tells the page so."""
    await page.open(url)
    return [await page.evaluate(CALL_ONCE) for _ in range(WARM_UP + CALLS)]

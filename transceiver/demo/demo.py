"""`voxpop demo`: everything on this machine, a real call, and the page to call from."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
from enum import Enum
from pathlib import Path

import aiohttp

from core.errors import UnavailableError, VoxpopError
from core.service import log, process
from transceiver.caller.api import SignalingClient, calls_url
from transceiver.caller.call import Call
from transceiver.caller.report import Report, make_report, render
from transceiver.caller.settings import with_quick_turns
from transceiver.caller.sound import default_recording, read_frames
from transceiver.demo.host import LocalHost, plan_host
from transceiver.demo.lab import Lab
from transceiver.media.ticker import Ticker
from transceiver.transport.certificate import Certificate
from transceiver.transport.warmup import warm_up

EXIT_ANSWERED, EXIT_FAILED = 0, 1
SETTINGS = {"max_loop_lag_ms": 2000}
"""A machine that is busy with other things may stutter; it is not to turn its only caller away."""


class Stage(Enum):
    """Where the demo plays."""

    LAB = "lab"
    """Network namespaces with the XDP fast path."""
    LOOPBACK = "loopback"
    """Userspace processes alone."""


def run(port: int, once: bool, verbose: bool, stage: Stage | None = None) -> int:
    """Run the demo, by default in a lab where that can be had; returns the exit status."""
    log.set_up("info" if verbose else "error")
    return asyncio.run(_demo(port, once, verbose, stage))


async def _demo(port: int, once: bool, verbose: bool, stage: Stage | None) -> int:
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    showing = asyncio.create_task(_play(port, once, verbose, stage))
    stopping = asyncio.create_task(stopped.wait())
    try:
        await asyncio.wait({showing, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not showing.done():
            say("\nStopping.")
            return EXIT_ANSWERED
        return showing.result()
    finally:
        for task in (showing, stopping):
            task.cancel()
        await asyncio.gather(showing, stopping, return_exceptions=True)


async def _play(port: int, once: bool, verbose: bool, stage: Stage | None) -> int:
    if stage is Stage.LAB or (stage is None and os.geteuid() == 0):
        lab = Lab(port)
        try:
            say("Voxpop, all on this machine: a PoP with the XDP fast path, a region, and a caller.\n")
            try:
                await lab.start()
            except UnavailableError as error:
                if stage is Stage.LAB:
                    raise
                say(f"No lab with XDP here, so everything runs in userspace: {error}\n")
            else:
                return await _show_lab(lab, once)
        finally:
            await lab.stop()
    with tempfile.TemporaryDirectory(prefix="voxpop-demo-") as folder:
        host = LocalHost(plan_host(port, transceiver_settings=SETTINGS), Path(folder), verbose)
        try:
            return await _show(host, once)
        finally:
            await host.stop()


async def _show_lab(lab: Lab, once: bool) -> int:
    say(f"  {'lab':<12}namespaces {' and '.join(lab.namespaces)}; the client is this machine")
    say(f"  {'PoP':<12}VIP {' and '.join(lab.vips)}, XDP in native mode")
    before = await lab.traffic()
    report = await _call(lab.url)
    traffic = await lab.traffic() - before
    say(f"  {'kernel':<12}{traffic}")
    if once or not report.answered:
        return EXIT_ANSWERED if report.answered else EXIT_FAILED
    _invite(lab.url)
    print(f"voxpop demo: the lab ended:\n{await lab.ended()}", file=sys.stderr)
    return EXIT_FAILED


async def _show(host: LocalHost, once: bool) -> int:
    plan = host.plan
    say("Voxpop, all on this machine: a relay at the edge, transceivers behind it, and a caller.\n")
    relay_s, transceiver_s = await host.start()
    vips = " and ".join(map(str, plan.vips))
    say(f"  {'relay':<12}{plan.workers} workers on VIP {vips}, ready after {relay_s:.1f} s")
    ports = f"{plan.ports[0]}–{plan.ports[1]}"
    say(f"  {'transceiver':<12}{plan.processes} processes on UDP {ports}, ready after {transceiver_s:.1f} s")
    report = await _call(plan.url)
    if once or not report.answered:
        return EXIT_ANSWERED if report.answered else EXIT_FAILED
    _invite(plan.url)
    return await _watch(host)


async def _call(url: str) -> Report:
    say('\nA caller says "hello Voxpop please say this back to me", and hears:\n')
    report = await place_call(url)
    say(render(report))
    return report


def _invite(url: str) -> None:
    say(f"\nYour turn: open {url}, press Call and talk. Ctrl-C ends the demo.")


async def place_call(url: str) -> Report:
    """One call with the recording that comes with Voxpop."""
    await warm_up()
    ticker = Ticker()
    async with aiohttp.ClientSession() as http:
        api = SignalingClient(http, calls_url(url), None)
        call = Call(api, ticker, Certificate.generate(), session=with_quick_turns({}))
        error = None
        try:
            await call.connect()
            await call.look_up_pop()
            await call.converse(read_frames(default_recording()), turns=1)
        except VoxpopError as failure:
            error = str(failure)
        finally:
            report = make_report(call, error)
            await call.hang_up()
            ticker.close()
    return report


async def _watch(host: LocalHost) -> int:
    """Return when a daemon ends that nobody asked to."""
    children = [daemon.child for daemon in (host.relay, host.transceiver) if daemon.child is not None]
    for child in await asyncio.to_thread(process.ended, children):
        print(f"voxpop demo: the {child.name} ended:\n{child.tail()}", file=sys.stderr)
    return EXIT_FAILED


def say(text: str) -> None:
    """To the terminal at once, also when it is a pipe."""
    print(text, flush=True)

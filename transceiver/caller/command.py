"""What `voxpop call` does: a probe for people, tests and monitoring."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import aiohttp

from core.service import log
from transceiver.caller.api import SignalingClient
from transceiver.caller.attempt import attempt
from transceiver.caller.call import Call
from transceiver.caller.crowd import Crowd
from transceiver.caller.plan import Plan, make_plan
from transceiver.caller.report import Report, make_report, render
from transceiver.caller.sound import SoundError, write_wav
from transceiver.caller.summary import Event, Summary, render_event, render_summary
from transceiver.media.ticker import Ticker
from transceiver.transport.certificate import Certificate
from transceiver.transport.warmup import warm_up

EXIT_ANSWERED, EXIT_FAILED, EXIT_USAGE, EXIT_INTERRUPTED = 0, 1, 2, 130


def run(arguments: argparse.Namespace) -> int:
    """Place the call, or all of them; returns the exit status."""
    log.set_up("info" if arguments.verbose else "error")
    try:
        plan = make_plan(arguments)
    except (SoundError, ValueError) as error:
        print(f"voxpop call: {error}", file=sys.stderr)
        return EXIT_USAGE
    if plan.calls is not None:
        return _run_crowd(plan, arguments.json)
    outcome = asyncio.run(place(plan))
    if arguments.out is not None and outcome.heard:
        write_wav(arguments.out, outcome.heard)
    report = outcome.report
    print(json.dumps(report.as_json()) if arguments.json else render(report))
    if outcome.was_interrupted:
        return EXIT_INTERRUPTED
    if not report.answered:
        print(f"voxpop call: {report.error or 'no answer was heard'}", file=sys.stderr)
    return EXIT_ANSWERED if report.answered else EXIT_FAILED


def _run_crowd(plan: Plan, as_json: bool) -> int:
    def tell(event: Event) -> None:
        line = json.dumps(event.as_json()) if as_json else render_event(event)
        if line:
            print(line, flush=True)

    summary = asyncio.run(place_crowd(plan, tell))
    if not as_json:
        print(render_summary(summary))
    if summary.was_interrupted:
        return EXIT_INTERRUPTED
    return EXIT_ANSWERED if summary.answered == summary.calls else EXIT_FAILED


def _until_signal() -> asyncio.Event:
    interrupted = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, interrupted.set)
    return interrupted


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a plan for one call."""

    report: Report
    heard: Sequence[bytes]
    was_interrupted: bool


async def place(plan: Plan) -> Outcome:
    """Carry a plan for one call out. Whatever happens, the call is hung up."""
    interrupted = _until_signal()
    await warm_up()  # the server is to be measured, not what this process has yet to load
    ticker = Ticker()
    async with aiohttp.ClientSession() as http:
        api = SignalingClient(http, plan.url, plan.api_key)
        call = Call(api, ticker, Certificate.generate(), session=plan.session, nomination=plan.nomination)
        try:
            error = await attempt(_talk(plan, call), interrupted)
            report = make_report(call, error)
        finally:
            await call.hang_up()
            ticker.close()
    return Outcome(report, call.record.heard, interrupted.is_set())


async def _talk(plan: Plan, call: Call) -> None:
    await call.connect()
    await call.look_up_pop()
    await call.converse(plan.recording, plan.turns, plan.seconds)


async def place_crowd(plan: Plan, tell: Callable[[Event], None]) -> Summary:
    """Carry a plan for many calls out. Whatever happens, all are hung up. SIGUSR1 gives them other ports."""
    interrupted = _until_signal()
    await warm_up()
    crowd = Crowd(plan, tell, interrupted)
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, crowd.rebind)
    return await crowd.run()

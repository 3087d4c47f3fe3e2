"""What `voxpop call` does: a probe for people, tests and monitoring."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from yarl import URL

from core.errors import VoxpopError
from core.service import log
from transceiver.caller.api import SignalingClient, calls_url
from transceiver.caller.call import Call
from transceiver.caller.ice import Nomination
from transceiver.caller.limits import KEY_VARIABLE, MAX_SECONDS
from transceiver.caller.report import Report, make_report, render
from transceiver.caller.settings import probe_session
from transceiver.caller.sound import SoundError, default_recording, read_frames, write_wav
from transceiver.media import FRAME_MS
from transceiver.media.ticker import Ticker
from transceiver.transport.certificate import Certificate
from transceiver.transport.warmup import warm_up

EXIT_ANSWERED, EXIT_FAILED, EXIT_USAGE, EXIT_INTERRUPTED = 0, 1, 2, 130
MAX_KEY_FILE_BYTES = 4096
LONGER_ANSWER_S = 30.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done, with everything read and checked."""

    url: URL
    api_key: str | None
    recording: Sequence[bytes]
    turns: int | None
    seconds: float
    session: Mapping[str, object]
    nomination: Nomination


def run(arguments: argparse.Namespace) -> int:
    """Place the call; returns the exit status."""
    log.set_up("info" if arguments.verbose else "error")
    try:
        plan = _plan(arguments)
    except (SoundError, ValueError) as error:
        print(f"voxpop call: {error}", file=sys.stderr)
        return EXIT_USAGE
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


def _plan(arguments: argparse.Namespace) -> Plan:
    if arguments.out is not None and not arguments.out.absolute().parent.is_dir():
        raise ValueError(f"{arguments.out}: there is no directory {arguments.out.absolute().parent}")
    recording = read_frames(arguments.wav or default_recording())
    turns = arguments.turns
    if turns is None and arguments.seconds is None:
        turns = 1
    url = calls_url(arguments.url)
    return Plan(
        url=url,
        api_key=_api_key(arguments.api_key_file),
        recording=recording,
        turns=turns,
        seconds=arguments.seconds or _enough_s(len(recording), turns or 1),
        session=probe_session(url, arguments.session),
        nomination=arguments.nomination,
    )


def _enough_s(frames: int, turns: int) -> float:
    """For a server that answers in about the length of the question; one that never stops is cut off."""
    return min(MAX_SECONDS, turns * (2 * frames * FRAME_MS / 1000 + LONGER_ANSWER_S))


def _api_key(path: Path | None) -> str | None:
    if path is None:
        return os.environ.get(KEY_VARIABLE) or None
    try:
        with path.open("rb") as file:
            key = file.read(MAX_KEY_FILE_BYTES).decode("ascii").strip()
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path}: is not an API key") from None
    if not key or not key.isprintable() or " " in key:
        raise ValueError(f"{path}: must hold one API key and nothing else")
    return key


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a plan."""

    report: Report
    heard: Sequence[bytes]
    was_interrupted: bool


async def place(plan: Plan) -> Outcome:
    """Carry a plan out. Whatever happens, the call is hung up."""
    interrupted = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, interrupted.set)
    await warm_up()  # the server is to be measured, not what this process has yet to load
    ticker = Ticker()
    async with aiohttp.ClientSession() as http:
        api = SignalingClient(http, plan.url, plan.api_key)
        call = Call(api, ticker, Certificate.generate(), session=plan.session, nomination=plan.nomination)
        try:
            error = await _carry_out(plan, call, interrupted)
            report = make_report(call, error)
        finally:
            await call.hang_up()
            ticker.close()
    return Outcome(report, call.record.heard, interrupted.is_set())


async def _carry_out(plan: Plan, call: Call, interrupted: asyncio.Event) -> str | None:
    """What went wrong, or None."""
    talking = asyncio.create_task(_talk(plan, call))
    stopping = asyncio.create_task(interrupted.wait())
    await asyncio.wait({talking, stopping}, return_when=asyncio.FIRST_COMPLETED)
    for task in (talking, stopping):
        task.cancel()
    outcome, _ = await asyncio.gather(talking, stopping, return_exceptions=True)
    if isinstance(outcome, VoxpopError):
        return str(outcome)
    if isinstance(outcome, asyncio.CancelledError):
        return "interrupted"
    if outcome is not None:
        raise outcome
    return None


async def _talk(plan: Plan, call: Call) -> None:
    await call.connect()
    await call.look_up_pop()
    await call.converse(plan.recording, plan.turns, plan.seconds)

"""The command line of `voxpop call`. What it does is in `command`, which is imported when it runs."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from core.service import interrupt
from core.service.cli.options import add_json, number, whole_number
from transceiver.caller.ice import Nomination
from transceiver.caller.limits import DEFAULT_RATE, KEY_VARIABLE, MAX_CALLS, MAX_RATE, MAX_SECONDS

if TYPE_CHECKING:
    from core.service.cli.options import Verbs

MAX_TURNS = 100

EPILOG = f"""\
exit status:
  0  set up, and every turn was answered; with --calls, in all of them
  1  failed, with one line on standard error that says at which stage and why
  2  wrong usage: the URL, the recording or the API key file cannot be used
  130  interrupted; the call was hung up first

The API key, where the server wants one, comes from --api-key-file or the environment variable
{KEY_VARIABLE}; never from the command line, which others can read.

examples:
  voxpop call http://127.0.0.1:8080
  voxpop call https://voice.example.net --wav question.wav --out answer.wav
  voxpop call https://voice.example.net --json --api-key-file /etc/voxpop/probe.key | jq .setup.total_ms

Many calls, of which ten begin in a second, each as one call would be; Ctrl-C hangs all of them up, and
SIGUSR1 has them go on from other ports, as behind a NAT that has forgotten them. With --json each thing that
happens is a line, and each call's report, with the times of its gaps; see docs/call.md:

  voxpop call https://voice.example.net --calls 30 --seconds 60
  voxpop call https://voice.example.net --calls 200 --rate 20 --seconds 2 --json | jq 'select(.error)'
"""


def register(verbs: Verbs[argparse.ArgumentParser]) -> None:
    """Add `call`."""
    parser = verbs.add_parser(
        "call",
        help="call a server, play a recording, record the answer, print the numbers",
        description="Calls a Voxpop server as a WebRTC client does: plays a recording, records the answer, "
        "and prints set-up time by stage, round trip, jitter, loss and response time.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "url", metavar="URL", help="the server, http://HOST:PORT, or the full URL of its calls"
    )
    parser.add_argument(
        "--wav",
        type=Path,
        metavar="FILE",
        help="what to say, at any rate (default: a short sentence)",
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="record what is heard, 24 kHz mono WAV")
    parser.add_argument(
        "--turns",
        type=whole_number(1, MAX_TURNS),
        metavar="N",
        help="say it N times, hearing each answer out (default: 1)",
    )
    parser.add_argument(
        "--seconds",
        type=number(0.1, MAX_SECONDS),
        metavar="S",
        help="hang up after S seconds; without --turns, talk that long",
    )
    parser.add_argument(
        "--session",
        type=_session,
        default={},
        metavar="JSON",
        help="settings of the agent, as a JSON object (default: answer after 160 ms of silence)",
    )
    parser.add_argument("--api-key-file", type=Path, metavar="FILE", help="a file with the API key in it")
    parser.add_argument(
        "--nomination",
        type=Nomination,
        choices=list(Nomination),
        default=Nomination.ALWAYS,
        metavar="always|once",
        help="which checks carry USE-CANDIDATE: always, as Chromium; once, as Firefox (default: always)",
    )
    parser.add_argument(
        "--calls",
        type=whole_number(1, MAX_CALLS),
        metavar="N",
        help=f"N calls side by side, at most {MAX_CALLS}; prints what happens, and a summary",
    )
    parser.add_argument(
        "--rate",
        type=number(0.1, MAX_RATE),
        metavar="R",
        help=f"of --calls, how many begin in a second (default: {DEFAULT_RATE:g})",
    )
    add_json(parser, "print the report as one JSON object; with --calls one object a line")
    parser.add_argument("--verbose", action="store_true", help="log what happens to standard error")
    parser.set_defaults(run=run)


def _session(text: str) -> Mapping[str, object]:
    try:
        session = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"is not JSON: {error}") from None
    if not isinstance(session, dict):
        raise argparse.ArgumentTypeError('must be a JSON object, such as {"voice": "parrot"}')
    return session


def run(arguments: argparse.Namespace) -> int:
    """Place the call; returns the exit status."""
    with interrupt.at_once():
        from transceiver.caller import command

    return command.run(arguments)

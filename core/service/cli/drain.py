"""`voxpop drain` and `voxpop undrain`: no new work for a daemon of this host, and what it has left."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from core.errors import UnavailableError
from core.service.cli.durations import duration, parse_duration
from core.service.cli.options import add_config, add_json

if TYPE_CHECKING:
    from core.service.admin.client import AdminClient
    from core.service.cli.options import Verbs

DAEMONS = ("relay", "transceiver")
POLL_S = 0.5
PATIENCE_S = 30.0
"""For the end of a drain, past its time: calls are told of it, flows are ended some at a time."""
EXIT_FAILED = 1

DRAIN_DESCRIPTION = """\
The daemon that the configuration names takes no new work, but stays. /readyz turns 503 with the state
draining: BGP withdraws, transceivers name another PoP, a balancer picks another host. Calls and flows that
exist go on until they end, or the time is over; then callers are told and hung up, and flows are ended. A
reload keeps the drain, a restart ends it. Given again, it sets another time.
"""
EPILOG = """\
exit status: 0 done, with --wait: nothing is left; 1 the daemon cannot be reached, or ended meanwhile; 130
after Ctrl-C, which ends the waiting and not the drain.
"""


def register(verbs: Verbs[argparse.ArgumentParser]) -> None:
    """Add `drain` and `undrain` to the command line."""
    drain = verbs.add_parser("drain", help="take no new calls or flows; say how many are left")
    actions = drain.add_subparsers(metavar="DAEMON", required=True)
    for daemon in DAEMONS:
        one = actions.add_parser(
            daemon,
            help=f"drain the {daemon} of this host",
            description=DRAIN_DESCRIPTION,
            epilog=EPILOG,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        _add_common(one, daemon)
        one.add_argument(
            "--for", dest="for_s", type=_duration, metavar="TIME",
            help=f"how long what exists may go on: 90, 90s, 5m, 1h; default: {daemon}.drain_timeout_s",
        )  # fmt: skip
        one.add_argument("--wait", action="store_true", help="show what is left, until nothing is")
        one.set_defaults(run=_drain)
    status = actions.add_parser(
        "status",
        help="whether daemons drain, and what is left",
        description="Of every daemon that the configuration has a table for. Exit status 1 when one of them "
        "cannot be reached.",
    )
    _add_common(status, None)
    status.set_defaults(run=_status)
    undrain = verbs.add_parser("undrain", help="take a drain back: new calls or flows are welcome again")
    takes_back = undrain.add_subparsers(metavar="DAEMON", required=True)
    for daemon in DAEMONS:
        one = takes_back.add_parser(
            daemon,
            help=f"let the {daemon} of this host take work again",
            description="Takes a drain back. One that SIGTERM began cannot be: the daemon ends with it.",
        )
        _add_common(one, daemon)
        one.set_defaults(run=_undrain)


def _add_common(parser: argparse.ArgumentParser, daemon: str | None) -> None:
    add_config(parser, "[relay], [transceiver]" if daemon is None else f"[{daemon}]")
    add_json(parser, "one JSON object a line instead of sentences")
    parser.set_defaults(daemon=daemon)


def _duration(text: str) -> float:
    from core.service.admin.path import MAX_FOR_S

    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    if seconds > MAX_FOR_S:
        raise argparse.ArgumentTypeError(f"at most {duration(MAX_FOR_S)}")
    return seconds


def _drain(arguments: argparse.Namespace) -> int:
    client = _clients(arguments)[arguments.daemon]
    status = client.drain(arguments.for_s)
    _show(status, arguments)
    return _wait(client, status, arguments) if arguments.wait else 0


def _undrain(arguments: argparse.Namespace) -> int:
    _show(_clients(arguments)[arguments.daemon].undrain(), arguments)
    return 0


def _status(arguments: argparse.Namespace) -> int:
    exit_status = 0
    for client in _clients(arguments).values():
        try:
            _show(client.status(), arguments)
        except UnavailableError as error:
            print(f"voxpop: {error}", file=sys.stderr)
            exit_status = EXIT_FAILED
    return exit_status


def _clients(arguments: argparse.Namespace) -> dict[str, AdminClient]:
    """Of the daemon that is meant, or of all that the configuration has. Raises ConfigError."""
    from core.errors import ConfigError
    from core.service.admin.client import AdminClient
    from core.service.admin.path import admin_path
    from core.service.files import load_config

    config = load_config(arguments.config)
    tables = {"relay": config.relay, "transceiver": config.transceiver}
    wanted = DAEMONS if arguments.daemon is None else (arguments.daemon,)
    found = {
        daemon: AdminClient(daemon, admin_path(daemon, own.admin_socket, arguments.config))
        for daemon in wanted
        if (own := tables[daemon]) is not None
    }
    if not found:
        missing = " or ".join(f"[{daemon}]" for daemon in wanted)
        raise ConfigError([f"{arguments.config}: {missing} is missing: which daemon is meant is said there"])
    return found


def _wait(client: AdminClient, status: Mapping[str, Any], arguments: argparse.Namespace) -> int:
    """Until nothing is left. What is left is shown when it changes. Raises UnavailableError."""
    from core.service.admin.client import GoneError

    shown = status["left"]
    over_s = time.monotonic() + status["drain"]["remaining_s"] + PATIENCE_S
    while not status["drain"]["is_done"]:
        time.sleep(POLL_S)
        try:
            status = client.status()
        except GoneError:
            if not shown:
                return 0  # a signal has ended it as well, and it had nothing to wait for
            raise UnavailableError(
                f"the {arguments.daemon} has ended with {shown} {status['work']} left"
            ) from None
        if status["drain"] is None:
            raise UnavailableError(f"somebody has taken the drain back (voxpop undrain {arguments.daemon})")
        if status["left"] != shown or status["drain"]["is_done"]:
            shown = status["left"]
            _show(status, arguments)
        if status["drain"]["remaining_s"]:
            over_s = time.monotonic() + status["drain"]["remaining_s"] + PATIENCE_S
        elif time.monotonic() > over_s:
            raise UnavailableError(f"{shown} {status['work']} are left though the time is over: see the log")
    return 0


def _show(status: Mapping[str, Any], arguments: argparse.Namespace) -> None:
    print(json.dumps(status) if arguments.json else in_words(status), flush=True)


def in_words(status: Mapping[str, Any]) -> str:
    """One line: `transceiver: draining, 12 calls left, the oldest of 5m10s; 52m until they are ended`."""
    drain, left = status["drain"], f"{status['left']} {status['work']}"
    if drain is None:
        return f"{status['daemon']}: {status['state']}, {left}"
    if drain["is_done"]:
        return f"{status['daemon']}: drained, no {status['work']} left"
    oldest_s = drain.get("oldest_s")
    oldest = "" if oldest_s is None else f", the oldest of {duration(oldest_s)}"
    rest_s = drain["remaining_s"]
    rest = f"{duration(rest_s)} until they are ended" if rest_s else "they are being ended"
    ending = ", and the daemon with them" if drain["is_last"] else ""
    return f"{status['daemon']}: draining, {left} left{oldest}; {rest}{ending}"

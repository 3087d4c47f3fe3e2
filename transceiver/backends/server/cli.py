"""The command line of `voxpop backend`. What it does is imported when it runs."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from core.addr import Endpoint, parse_endpoint
from core.errors import UnavailableError
from core.service import interrupt
from core.service.cli.options import add_log_format, number, whole_number

if TYPE_CHECKING:
    from core.service.cli.options import Verbs
    from transceiver.backends.server.contract import ServedBackend
    from transceiver.backends.server.process import Serving

LISTEN = "127.0.0.1:9010"
MAX_SESSIONS = 64
MOST = 10_000
"""Sessions, or recognisers, that may be asked for."""
RECOGNIZERS = 2
DRAIN_TIMEOUT_S = 30.0

EPILOG = """\
The first line on standard output is the URL, once clients may connect. /healthz and /readyz are on the same
port. Without keys it listens on loopback addresses only, and pages of other sites may not connect. TLS is a
reverse proxy's part.

signals:
  SIGHUP   read the API keys again; if they are wrong, the old ones stay
  SIGTERM  take no more clients, and end when those that are there have left, or after --drain-timeout;
           a second one ends at once
  SIGINT   end at once

examples:
  voxpop backend parrot
  voxpop backend parrot --listen 0.0.0.0:9010 --api-keys api-keys.toml
  voxpop backend clerk

docs/backends.md has the protocol as it is served, and how to make a backend of your own of it.
"""

LoadKeys = Callable[[Path], Callable[[str], str | None]]
"""Reads a file of API keys; whose a key is. Raises ConfigError."""


def register(verbs: Verbs[argparse.ArgumentParser], load_keys: LoadKeys) -> None:
    """Add `backend`."""
    parser = verbs.add_parser("backend", help="serve a backend of ours as a process of its own")
    which = parser.add_subparsers(metavar="BACKEND", required=True)
    parrot = which.add_parser(
        "parrot",
        help="say back what was heard",
        description="Serves the parrot by the OpenAI Realtime event protocol over WebSockets.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_options(parrot)
    parrot.add_argument(
        "--speed",
        type=number(0.1, 1_000),
        metavar="X",
        help="send answers at X times real time (default: as fast as the client takes them)",
    )
    parrot.set_defaults(run=_parrot, load_keys=load_keys)
    _register_clerk(which, load_keys)


def _register_clerk(which: Verbs[argparse.ArgumentParser], load_keys: LoadKeys) -> None:
    clerk = which.add_parser(
        "clerk",
        help="answer in words: what time is it, repeat seven elephant, call me Robert",
        description="Serves a backend with words, offline: recognition by pocketsphinx, replies by rule, "
        "speech by espeak-ng. Needs `pip install 'voxpop[clerk]'` and `apt install espeak-ng`.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_options(clerk)
    clerk.add_argument(
        "--recognizers",
        type=whole_number(1, MOST),
        default=RECOGNIZERS,
        metavar="N",
        help=f"processes that recognise, one caller each at a time (default: {RECOGNIZERS})",
    )
    clerk.set_defaults(run=_clerk, load_keys=load_keys)


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--listen",
        type=_endpoint,
        default=parse_endpoint(LISTEN),
        metavar="ADDRESS:PORT",
        help=f"default: {LISTEN}; port 0 is any that is free",
    )
    parser.add_argument(
        "--api-keys",
        type=Path,
        metavar="FILE",
        help="who may connect; made by `voxpop api-key new` (default: everybody on this machine)",
    )
    parser.add_argument(
        "--metrics",
        type=_endpoint,
        metavar="ADDRESS:PORT",
        help="where Prometheus may read /metrics, in plain HTTP (default: nowhere)",
    )
    parser.add_argument(
        "--max-sessions",
        type=whole_number(1, MOST),
        default=MAX_SESSIONS,
        metavar="N",
        help=f"more are refused with 503 (default: {MAX_SESSIONS})",
    )
    parser.add_argument(
        "--drain-timeout",
        type=number(0, 86_400),
        default=DRAIN_TIMEOUT_S,
        metavar="S",
        help=f"what sessions get to finish after SIGTERM (default: {DRAIN_TIMEOUT_S:g})",
    )
    add_log_format(parser)


def _endpoint(text: str) -> Endpoint:
    any_port = text.removesuffix(":0") + ":1" if text.endswith(":0") else None
    try:
        return parse_endpoint(text) if any_port is None else parse_endpoint(any_port)._replace(port=0)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _parrot(arguments: argparse.Namespace) -> int:
    with interrupt.at_once():
        import time

        from core.service.privileges import keep_while_opening

        keep_while_opening()
        from transceiver.backends.parrot import Parrots
        from transceiver.backends.server.driven import DrivenBackend
        from transceiver.turns.settings import ServerVad

    return _serve(DrivenBackend(Parrots(ServerVad()), time.monotonic_ns, arguments.speed), arguments)


def _clerk(arguments: argparse.Namespace) -> int:
    with interrupt.at_once():
        import time

        from core.service.privileges import keep_while_opening

        keep_while_opening()
        from transceiver.backends.clerk.backend import Clerks

    def time_of_day() -> str:
        return time.strftime("%-I:%M %p")

    return _serve(Clerks(arguments.recognizers, time.monotonic_ns, time_of_day), arguments)


def _serve(backend: ServedBackend, arguments: argparse.Namespace) -> int:
    import asyncio

    from core.service import log
    from transceiver.backends.server.process import serve

    log.set_up(as_json=arguments.log_format == "json")
    with asyncio.Runner() as runner:
        return runner.run(serve(backend, _serving(arguments), _say))


def _serving(arguments: argparse.Namespace) -> Serving:
    """Raises UnavailableError where strangers could connect without a key."""
    from transceiver.backends.server.process import Serving

    listen: Endpoint = arguments.listen
    file: Path | None = arguments.api_keys
    if file is None and not listen.is_loopback:
        raise UnavailableError(f"--listen: others can reach {listen}; say who may connect by --api-keys FILE")
    load_keys: LoadKeys = arguments.load_keys
    return Serving(
        listen=listen,
        max_sessions=arguments.max_sessions,
        drain_timeout_s=arguments.drain_timeout,
        metrics=arguments.metrics,
        load_keys=None if file is None else lambda: load_keys(file),
    )


def _say(url: str) -> None:
    from core.service.privileges import keep_only

    keep_only()  # all that it takes is open
    print(url, flush=True)

"""The command line of `voxpop demo`. What it does is in `demo`, which is imported when it runs."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from core.service.verbs import Verbs

EPILOG = """\
Everything runs on loopback, in userspace mode, without root, from a temporary directory that is removed
at the end: a relay of two workers, a transceiver of two processes, fresh keys, and one real call.

exit status: 0 when the call was answered (or the page was served until Ctrl-C), 1 when not.
"""


def register(verbs: Verbs[argparse.ArgumentParser]) -> None:
    """Add `demo`."""
    parser = verbs.add_parser(
        "demo",
        help="a relay, transceivers, a real call and the page to call from, all on this machine",
        description="Starts a relay and a transceiver on this machine, places a call with recorded speech, "
        "prints its report, and serves the page to call from until Ctrl-C.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--once", action="store_true", help="end after the report")
    parser.add_argument(
        "--port",
        type=int,
        default=8080,
        metavar="PORT",
        help="port of the page, if it is free (default: 8080)",
    )
    parser.add_argument("--verbose", action="store_true", help="show the logs of relay and transceiver")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the demo; returns the exit status."""
    from transceiver import demo

    return demo.run(port=arguments.port, once=arguments.once, verbose=arguments.verbose)

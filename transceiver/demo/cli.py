"""The command line of `voxpop demo`. What it does is in `demo`, which is imported when it runs."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from core.service import interrupt

if TYPE_CHECKING:
    from core.service.cli.options import Verbs

EPILOG = """\
As root it plays in a lab (`voxpop lab`): a PoP with the XDP fast path and a region in network namespaces,
with this machine as their client. The report then says how many packets the kernel carried by itself, and
how many the relay saw. Without root everything runs on loopback, in userspace: a relay of two workers, a
transceiver of two processes. Both are removed at the end.

exit status: 0 when the call was answered (or the page was served until Ctrl-C), 1 when not.
"""


def register(verbs: Verbs[argparse.ArgumentParser]) -> None:
    """Add `demo`."""
    parser = verbs.add_parser(
        "demo",
        help="a relay, transceivers, a real call and the page to call from, all on this machine",
        description="Starts a PoP and a region on this machine, places a call with recorded speech, prints "
        "its report, and serves the page to call from until Ctrl-C.",
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
    stage = parser.add_mutually_exclusive_group()
    stage.add_argument(
        "--lab", action="store_const", const="lab", dest="stage", help="in a lab or not at all; needs root"
    )
    stage.add_argument(
        "--no-lab", action="store_const", const="loopback", dest="stage", help="on loopback, also as root"
    )
    parser.add_argument("--verbose", action="store_true", help="show the logs of relay and transceiver")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the demo; returns the exit status."""
    with interrupt.at_once():
        from transceiver.demo import demo

    stage = None if arguments.stage is None else demo.Stage(arguments.stage)
    return demo.run(port=arguments.port, once=arguments.once, verbose=arguments.verbose, stage=stage)

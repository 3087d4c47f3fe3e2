"""`voxpop flows`: what the fast path carries."""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import TYPE_CHECKING

from edge.ops.source import add_source, pins_of

if TYPE_CHECKING:
    from core.service.cli.options import Verbs
    from edge.ops.flow_query import Selection


FLOW_COLUMNS = (
    "CLIENT", "VIP", "TRANSCEIVER", "NAT-PORT", "IDLE", "ANSWERED", "PKTS↑", "PKTS↓", "BYTES↑", "BYTES↓",
)  # fmt: skip


def register(verbs: Verbs[argparse.ArgumentParser]) -> None:
    """Add `flows` to the command line."""
    flows = verbs.add_parser(
        "flows",
        help="list or count the flows that the fast path carries",
        description="Reads the pinned maps themselves, so it works while the relay is down.",
    )
    actions = flows.add_subparsers(metavar="ACTION", required=True)
    listing = actions.add_parser(
        "list",
        help="one line for each flow",
        description="IDLE is since the client was last heard, ANSWERED since the transceiver was: of an "
        "unconfirmed flow, never. Packets and bytes, of the IP layer, are those that the fast path carried, "
        "upstream and downstream.",
    )
    listing.add_argument(
        "--limit", type=_limit, default=100, metavar="N", help="lines at most; 0 is no limit (default: 100)"
    )
    listing.add_argument("-H", "--no-header", action="store_true", help="for scripts")
    listing.set_defaults(run=_list)
    count = actions.add_parser("count", help="how many there are")
    count.set_defaults(run=_count)
    for action in (listing, count):
        for name, whose in (("client", "the client"), ("vip", "the VIP"), ("transceiver", "the transceiver")):
            action.add_argument(
                f"--{name}",
                type=_side,
                metavar="ADDRESS",
                help=f"{whose}: an address, a prefix, ADDRESS:PORT",
            )
        action.add_argument(
            "--unconfirmed",
            action="store_true",
            default=None,
            help="to which nothing has come back from their transceiver",
        )
        action.add_argument("--idle", type=_idle, metavar="BOUND", help="for how long: '>30s', '<500ms'")
        add_source(action)


def _limit(text: str) -> int | None:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError("must not be negative")
    return number or None


def _side(text: str) -> object:
    from edge.ops.flow_query import parse_side

    try:
        return parse_side(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _idle(text: str) -> object:
    from edge.ops.flow_query import parse_idle

    try:
        return parse_idle(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _select(arguments: argparse.Namespace, limit: int | None) -> Selection:
    from edge.ops import flow_query

    wanted = flow_query.Filter(
        arguments.client, arguments.vip, arguments.transceiver, arguments.idle, arguments.unconfirmed
    )
    return flow_query.select(pins_of(arguments), wanted, limit, time.monotonic_ns)


def _list(arguments: argparse.Namespace) -> int:
    from core.service.cli import render
    from core.service.cli.durations import duration

    found = _select(arguments, arguments.limit)
    matching = sum(found.matching.values())
    if arguments.json:
        print(json.dumps({
            "flows": [flow.to_json() for flow in found.shown], "matching": matching, "total": found.total,
        }))  # fmt: skip
    else:
        rows = [
            (f.client, f.vip, f.transceiver, f.nat_port, duration(f.idle_s),
             "never" if f.answered_s is None else duration(f.answered_s),
             f.packets_up, f.packets_down, f.bytes_up, f.bytes_down)
            for f in found.shown
        ]  # fmt: skip
        text = render.table(FLOW_COLUMNS, rows, right=frozenset(range(4, 10)))
        print(text.partition("\n")[2] if arguments.no_header else text)
    if len(found.shown) < matching:
        hidden = matching - len(found.shown)
        print(f"voxpop: {hidden} more flows match; --limit 0 shows all", file=sys.stderr)
    return 0


def _count(arguments: argparse.Namespace) -> int:
    from core.addr import IpFamily

    found = _select(arguments, 0)
    number = sum(found.matching.values())
    if arguments.json:
        by_family = {f"ipv{family}": found.matching[family] for family in IpFamily}
        print(json.dumps({"flows": number, **by_family, "total": found.total}))
    else:
        print(number)
    return 0

"""`voxpop stats`: what the fast path did with packets."""

from __future__ import annotations

import argparse
import json
import time
from typing import TYPE_CHECKING

from edge.ops.source import add_source, pins_of

if TYPE_CHECKING:
    from core.service.cli.options import Verbs
    from edge.ops.counter_query import Row


def register(verbs: Verbs[argparse.ArgumentParser]) -> None:
    """Add `stats` to the command line."""
    stats = verbs.add_parser(
        "stats",
        help="what the fast path did with packets, by verdict",
        description="Every packet that the fast path sees is counted under one verdict: forward_*, punt_* "
        "(to the relay), pass_* (to the kernel), drop_*. Reads the pinned counters themselves, so it works "
        "while the relay is down; they count since the maps were made.",
    )
    stats.add_argument("--watch", type=float, metavar="SECONDS", help="per second instead, again and again")
    stats.add_argument("--all", action="store_true", help="also what never happened")
    add_source(stats)
    stats.set_defaults(run=_stats)


def _stats(arguments: argparse.Namespace) -> int:
    from edge.ops import counter_query

    directory = pins_of(arguments)
    if arguments.watch is None:
        _print_counts(counter_query.read(directory, time.monotonic()).rows, arguments)
        return 0
    before = counter_query.read(directory, time.monotonic())
    while True:
        time.sleep(arguments.watch)
        after = counter_query.read(directory, time.monotonic())
        _print_rates(counter_query.rates(before, after), arguments)
        before = after


def _print_counts(rows: list[Row], arguments: argparse.Namespace) -> None:
    from core.service.cli import render

    if arguments.json:
        told = [
            {"verdict": r.verdict, "family": r.family, "packets": r.counted.packets, "bytes": r.counted.bytes}
            for r in rows
        ]
        print(json.dumps({"counters": told}))
        return
    shown = [r for r in rows if arguments.all or r.counted.packets]
    cells = [(r.verdict, r.family, r.counted.packets, r.counted.bytes) for r in shown]
    print(render.table(("VERDICT", "FAMILY", "PACKETS", "BYTES"), cells, right=frozenset({2, 3})))


def _print_rates(rows: list[tuple[Row, float, float]], arguments: argparse.Namespace) -> None:
    from core.service.cli import render

    if arguments.json:
        told = [
            {"verdict": r.verdict, "family": r.family, "packets_per_s": round(packets, 3),
             "bytes_per_s": round(size, 3)}
            for r, packets, size in rows
        ]  # fmt: skip
        print(json.dumps({"rates": told}), flush=True)
        return
    cells = [
        (r.verdict, r.family, render.quantity(packets), render.quantity(size * 8))
        for r, packets, size in rows
        if arguments.all or packets
    ]
    header = ("VERDICT", "FAMILY", "PACKETS/S", "BITS/S")
    print(render.table(header, cells, right=frozenset({2, 3})), end="\n\n", flush=True)

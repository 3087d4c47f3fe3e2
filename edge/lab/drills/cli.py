"""The command line of `voxpop lab scenario`. What it does is imported when it runs."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from core.service import interrupt
from core.service.cli.options import add_json

if TYPE_CHECKING:
    from core.service.cli.options import Verbs

EPILOG = """\
A drill builds what it needs, lets real callers talk, makes something die, and tells what they heard: the
longest gap of audio, packets lost by their sequence numbers, calls lost. Nothing is left of it.

  voxpop lab scenario --list
  voxpop lab scenario relay-restart nat-rebinds
  voxpop lab scenario --all --json > drills.json

exit status:
  0  every bar was met
  1  one was missed, or a drill could not be played: the line below the table says why
  2  wrong usage, such as a drill that there is not

Needs root. What each caller heard stays in the directory of --keep. See docs/drills.md.
"""
EXIT_MET, EXIT_MISSED, EXIT_USAGE = 0, 1, 2


def register(actions: Verbs[argparse.ArgumentParser]) -> None:
    """Add `scenario`."""
    scenario = actions.add_parser(
        "scenario",
        help="play drills: something dies under real calls, and what they heard is told",
        description="Plays drills in labs of their own, one after the other, and prints a table.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    scenario.add_argument("names", nargs="*", metavar="NAME", help="which drills, in this order")
    scenario.add_argument("--all", action="store_true", help="every drill")
    scenario.add_argument("--list", action="store_true", help="say which there are, and their bars")
    scenario.add_argument("--keep", type=Path, metavar="DIR", help="leave what every caller told in DIR")
    add_json(scenario, "print the figures as one JSON object")
    scenario.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from edge.lab.drills import registry

    if arguments.list:
        print(registry.listing())
        return EXIT_MET
    if bool(arguments.names) == arguments.all:
        print("voxpop lab scenario: name drills, or --all; --list says which there are", file=sys.stderr)
        return EXIT_USAGE
    unknown = [name for name in arguments.names if name not in registry.NAMES]
    if unknown:
        there_are = f"there are {', '.join(registry.NAMES)}"
        print(f"voxpop lab scenario: there is no {', '.join(unknown)}; {there_are}", file=sys.stderr)
        return EXIT_USAGE
    return _play(arguments)


def _play(arguments: argparse.Namespace) -> int:
    with interrupt.postponed():
        from edge.lab import lock
        from edge.lab.drills import play, registry, table

        lock.need_rights()
        drills = registry.DRILLS if arguments.all else registry.named(arguments.names)
        with play.folder(arguments.keep) as directory:
            verdicts = [play.play(drill, directory, _tell) for drill in drills]
    print(json.dumps(table.as_json(verdicts)) if arguments.json else table.render(verdicts))
    return EXIT_MET if all(verdict.is_met for verdict in verdicts) else EXIT_MISSED


def _tell(text: str) -> None:
    """To people, beside what --json prints."""
    print(text, file=sys.stderr, flush=True)

"""`voxpop scale`: how large a fleet has to be, and what its failures cost."""

from __future__ import annotations

import argparse
import json
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import ConfigError
from core.service.cli.options import add_json

if TYPE_CHECKING:
    from core.scale.assumptions import Plan
    from core.service.cli.options import Verbs

EPILOG = """\
What a host can do is measured, not believed. On hardware like the fleet's:

  make bench                                        # writes bench.json
  voxpop scale --bench bench.json --set traffic.calls=2e6

Without --bench the figures are those of docs/scale.md, of a small virtual machine. All that is assumed:

  voxpop scale --show > plan.toml                   # every key, its unit, the benchmark that measures it
  voxpop scale --plan plan.toml                     # edited

What would a fleet that there is already do?

  voxpop scale --set layout.pops=12 --set layout.pop_hosts=4 --set traffic.calls=3e6

Figures of --bench count over those of --plan, and --set over both. See docs/scale.md.
"""


def register(verbs: Verbs[argparse.ArgumentParser]) -> None:
    """Add `scale` to the command line."""
    scale = verbs.add_parser(
        "scale",
        help="size a fleet from measured figures",
        description="Computes what a number of calls takes: packets, flows, hosts of PoPs, transceivers and "
        "servers of the store; which resource breaks first; what the death of a host, of PoPs, of a "
        "transceiver or the store costs the others.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    scale.add_argument("--plan", type=Path, metavar="FILE", help="TOML, as --show prints it")
    scale.add_argument(
        "--bench", type=Path, metavar="FILE", action="append", default=[],
        help="figures of `make bench`; may be given again, for parts that were measured apart",
    )  # fmt: skip
    scale.add_argument(
        "--set", metavar="TABLE.KEY=VALUE", action="append", default=[], dest="settings",
        help="another value for a key of --show",
    )  # fmt: skip
    scale.add_argument("--show", action="store_true", help="print the plan itself, and end")
    add_json(scale, "one JSON object instead of tables")
    scale.set_defaults(run=_scale)


def _scale(arguments: argparse.Namespace) -> int:
    from core.scale import plan as plans
    from core.scale.fleet import size
    from core.service.cli import scale_report

    plan = _plan(arguments)
    if arguments.show:
        print(plans.show(plan), end="")
        return 0
    fleet = size(plan)
    print(json.dumps(scale_report.as_values(fleet)) if arguments.json else scale_report.as_text(fleet))
    return 0


def _plan(arguments: argparse.Namespace) -> Plan:
    """Raises ConfigError with every problem."""
    from core.scale import plan as plans
    from core.service.files import load_toml

    problems: list[str] = []
    documents = [load_toml(arguments.plan)] if arguments.plan else []
    documents += [{"figures": _figures(path, problems)} for path in arguments.bench]
    documents += [_setting(text, problems) for text in arguments.settings]
    plan = plans.read(plans.merged(*documents), problems)
    if plan is None or problems:
        raise ConfigError(problems)
    return plan


def _figures(path: Path, problems: list[str]) -> dict[str, float]:
    from core.scale.figures import from_bench
    from core.service.exhausted import reason

    try:
        document = json.loads(path.read_text())
    except OSError as error:
        problems.append(f"{path}: cannot be read: {reason(error)}")
        return {}
    except (ValueError, RecursionError):
        problems.append(f"{path}: is not JSON")
        return {}
    found: list[str] = []
    figures = from_bench(document, found)
    problems += [f"{path}: {problem}" for problem in found]
    return figures


def _setting(text: str, problems: list[str]) -> dict[str, object]:
    """`traffic.calls=2e6` as a table of a table."""
    key, _, value = text.partition("=")
    table, _, name = key.strip().partition(".")
    try:
        return {table: {name: tomllib.loads(f"value = {value}")["value"]}}
    except tomllib.TOMLDecodeError:
        problems.append(f"--set {text}: is not TABLE.KEY=NUMBER")
        return {}

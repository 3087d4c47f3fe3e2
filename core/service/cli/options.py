"""What the verbs of all parts share: the type that they are added to, and options of one form."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

EXIT_CHECK_FAILED = 5
"""Of a verb that has looked, and found something."""

Verbs = argparse._SubParsersAction  # noqa: SLF001 - argparse returns it and gives it no public name
N = TypeVar("N", int, float)


def whole_number(low: int, high: int) -> Callable[[str], int]:
    """The `type` of an argument: a whole number in a range, both ends included."""
    return _in_range(int, low, high)


def number(low: float, high: float) -> Callable[[str], float]:
    """The `type` of an argument: a number in a range, both ends included."""
    return _in_range(float, low, high)


def _in_range(read: Callable[[str], N], low: N, high: N) -> Callable[[str], N]:
    def number(text: str) -> N:  # argparse says this name of what cannot be read
        value = read(text)
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"must be {low:.15g}–{high:.15g}")
        return value

    return number


def add_config(parser: argparse.ArgumentParser, tables: str) -> None:
    """Where the configuration is, of which the verb needs `tables`."""
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help=f"TOML; reads {tables}")


def add_json(parser: argparse.ArgumentParser, help_text: str = "one JSON object instead of lines") -> None:
    """For scripts, `arguments.json`."""
    parser.add_argument("--json", action="store_true", help=help_text)


def add_log_format(parser: argparse.ArgumentParser) -> None:
    """For people or for a collector, `arguments.log_format`."""
    parser.add_argument("--log-format", choices=("text", "json"), default="text", help="default: text")


def add_daemon_options(parser: argparse.ArgumentParser, tables: str) -> None:
    """Where a daemon reads its configuration, of which it needs `tables`, and how it logs."""
    add_config(parser, tables)
    add_log_format(parser)
    parser.add_argument(
        "--log-level", choices=("debug", "info", "warning", "error"), default="info", help="default: info"
    )

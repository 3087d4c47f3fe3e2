"""What the verbs of all parts share: the type that they are added to, and options of one form."""

from __future__ import annotations

import argparse
from pathlib import Path

Verbs = argparse._SubParsersAction  # noqa: SLF001 - argparse returns it and gives it no public name


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

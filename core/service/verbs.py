"""What the `register` functions of all parts share: the type they add verbs to, a daemon's options."""

from __future__ import annotations

import argparse
from pathlib import Path

Verbs = argparse._SubParsersAction  # noqa: SLF001 - argparse returns it and gives it no public name


def add_daemon_options(parser: argparse.ArgumentParser, tables: str) -> None:
    """Where a daemon reads its configuration, of which it needs `tables`, and how it logs."""
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help=f"TOML; reads {tables}")
    parser.add_argument("--log-format", choices=("text", "json"), default="text", help="default: text")
    parser.add_argument(
        "--log-level", choices=("debug", "info", "warning", "error"), default="info", help="default: info"
    )

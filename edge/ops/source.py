"""Which fast path an inspecting verb looks at."""

from __future__ import annotations

import argparse
from pathlib import Path

from core.service.cli.options import add_json

DEFAULT_PINS = Path("/sys/fs/bpf/voxpop")


def add_source(parser: argparse.ArgumentParser) -> None:
    """Where the pinned maps are, by configuration or directory; and how to print what is in them."""
    add_json(parser, "JSON instead of a table")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--config", type=Path, metavar="FILE", help="TOML; for its dataplane.pin_dir")
    source.add_argument(
        "--pin-dir", type=Path, metavar="DIR", default=DEFAULT_PINS, help=f"default: {DEFAULT_PINS}"
    )


def pins_of(arguments: argparse.Namespace) -> Path:
    """The directory of this version's pins."""
    from ebpf.layout import SCHEMA_VERSION
    from edge.host import dataplane

    if arguments.config is not None:
        return dataplane.load_plan(arguments.config).directory
    directory: Path = arguments.pin_dir
    return directory / f"v{SCHEMA_VERSION}"

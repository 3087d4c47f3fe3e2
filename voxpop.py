"""The `voxpop` command: every verb of every part under one name.

Each part registers its own verbs; what a verb needs is imported when it runs, so that `--help`
and the inspection commands start at once. The parts themselves are imported where Ctrl-C cannot be lost.
"""

from __future__ import annotations

import sys

if __name__ == "__main__" and not sys.flags.safe_path and sys.path[0] != __file__.rpartition("/")[0]:
    del sys.path[0]  # of `python -m voxpop`, the working directory: whoever writes there is not to run as us

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import ConfigError, VoxpopError
from core.service import exhausted, interrupt, standard_files

if TYPE_CHECKING:
    from core.service.metrics.reference import Section

EXIT_FAILED = 1


def build_parser() -> argparse.ArgumentParser:
    """The whole tree of verbs."""
    import core.service.cli
    import edge.cli
    import transceiver.cli

    parser = argparse.ArgumentParser(
        prog="voxpop",
        description="Carries WebRTC voice from a nearby PoP to the transceiver that owns the call.",
        epilog="Start with `make demo`, or read docs/architecture.md.",
    )
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    edge.cli.register(verbs)
    transceiver.cli.register(verbs)
    core.service.cli.register(
        verbs, {"relay": _check_relay, "transceiver": _check_transceiver}, _metrics_sections
    )
    return parser


def _check_relay(path: Path) -> None:
    from edge.host.settings import load

    load(path)


def _check_transceiver(path: Path) -> None:
    from transceiver.host.settings import load

    load(path)


def _metrics_sections() -> Sequence[Section]:
    from core.service.metrics.daemon import SECTION
    from edge.health import metrics as announcing
    from edge.metrics import catalogue as relay
    from transceiver.backends.server import metrics as backend
    from transceiver.host import catalogue as transceiver

    return SECTION, *relay.SECTIONS, announcing.SECTION, *transceiver.SECTIONS, backend.SECTION


def main(argv: list[str] | None = None) -> int:
    """Run one verb; returns the exit status: 0 done, 1 failed, 2 wrong usage."""
    try:
        standard_files.ensure_open()
        with interrupt.at_once():
            arguments = build_parser().parse_args(argv)
        status: int = arguments.run(arguments)
        sys.stdout.flush()  # while there is somebody to tell that it failed
    except ConfigError as error:
        for problem in error.problems:
            print(f"voxpop: {problem}", file=sys.stderr)
        return EXIT_FAILED
    except VoxpopError as error:
        print(f"voxpop: {error}", file=sys.stderr)
        return EXIT_FAILED
    except BrokenPipeError:
        standard_files.give_up_output()  # the reader of a pipe, `head` say, has seen enough
        return EXIT_FAILED
    except (OSError, MemoryError, ImportError, RuntimeError, SystemError) as error:
        lacking = exhausted.lack(error)
        if lacking is None:
            raise
        standard_files.give_up_output()
        print(f"voxpop: {lacking}", file=sys.stderr)
        return EXIT_FAILED
    except KeyboardInterrupt:
        return 130
    return status


if __name__ == "__main__":
    sys.exit(main())

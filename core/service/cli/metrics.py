"""`voxpop metrics`: the reference of every series that a daemon shows."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from core.service.cli.options import Verbs
    from core.service.metrics.reference import Section

Sections = Callable[[], Sequence["Section"]]
"""Imports the catalogues of all parts, in the order of the page."""


def register(verbs: Verbs[argparse.ArgumentParser], sections: Sections) -> None:
    """Add `metrics` to the command line. This part knows how a catalogue is shown, but none of the parts."""
    metrics = verbs.add_parser("metrics", help="print the reference of all metrics")
    actions = metrics.add_subparsers(metavar="ACTION", required=True)
    reference = actions.add_parser(
        "reference",
        help="print every series, with its labels and their values",
        description="Prints docs/metrics.md: every series that a relay or a transceiver shows at /metrics, "
        "what it counts, and every value that its labels can have.",
    )
    reference.set_defaults(run=lambda _: _reference(sections()))


def _reference(sections: Sequence[Section]) -> int:
    from core.service.metrics.reference import write

    print(write(sections), end="")
    return 0

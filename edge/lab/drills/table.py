"""The table of drills: for a terminal, for docs/drills.md, and as JSON."""

from __future__ import annotations

import os
import platform
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path

from edge.lab.drills.drill import CALLS, GAP, PACKETS, Outcome, Verdict

COLUMNS = (GAP, PACKETS, CALLS)
PAGE_COLUMNS = 100
BEGIN, END = "<!-- table: make drills -->", "<!-- end of table -->"


def render(verdicts: Sequence[Verdict]) -> str:
    """For a terminal."""
    header = ("drill", *COLUMNS, "also", "")
    rows = [header, *((v.drill.name, *_own(v.outcome), _others(v.outcome), _met(v)) for v in verdicts)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    lines = ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)) for row in rows]
    misses = [f"{v.drill.name}: {miss}" for v in verdicts for miss in v.misses]
    return "\n".join(line.rstrip() for line in [*lines, *misses, "", machine()])


def markdown(verdicts: Sequence[Verdict]) -> str:
    """For the page."""
    lines = [f"| drill | bar | {' | '.join(COLUMNS)} | also | met |", f"|{' --- |' * 7}"]
    for verdict in verdicts:
        drill = verdict.drill
        cells = (drill.title, drill.bar, *_own(verdict.outcome), _others(verdict.outcome), _met(verdict))
        lines.append(f"| {' | '.join(cells)} |")
    measured = textwrap.fill(f"Measured on {machine()}.", PAGE_COLUMNS)
    return "\n".join([*lines, "", measured])


def replaced(page: str, table: str) -> str:
    """A page with another table between its two marks. Raises ValueError where these are not there."""
    head, begin, rest = page.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page has no {BEGIN} and {END}")
    return f"{head}{begin}\n\n{table}\n\n{end}{tail}"


def as_json(verdicts: Iterable[Verdict]) -> dict[str, object]:
    """Plain values."""
    return {"machine": machine(), "drills": [_plain(verdict) for verdict in verdicts]}


def _plain(verdict: Verdict) -> dict[str, object]:
    drill, outcome = verdict.drill, verdict.outcome
    return {
        "name": drill.name,
        "title": drill.title,
        "promise": drill.promise,
        "bars": [{"figure": bar.figure, "at_most": bar.at_most, "unit": bar.unit} for bar in drill.bars],
        "figures": {name: {"value": f.value, "unit": f.unit} for name, f in outcome.figures.items()},
        "misses": list(verdict.misses),
        "is_met": verdict.is_met,
        "took_s": round(verdict.took_s, 1),
    }


def _own(outcome: Outcome) -> list[str]:
    return [str(outcome.figures[name]) if name in outcome.figures else "—" for name in COLUMNS]


def _others(outcome: Outcome) -> str:
    return ", ".join(f"{name} {figure}" for name, figure in outcome.figures.items() if name not in COLUMNS)


def _met(verdict: Verdict) -> str:
    return "yes" if verdict.is_met else "**no**"


def machine() -> str:
    """What it was measured on."""
    with Path("/proc/cpuinfo").open() as file:
        models = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    model = models[0] if models else platform.machine()
    return f"{os.cpu_count()} × {model}, Linux {platform.release()}, Python {platform.python_version()}"

"""`make bench`: runs every part, prints a table, writes the same figures to bench.json.

    python -m tests.bench.run [NAME]

A part is a module `bench_NAME.py` beside this one. The exit status is 1 when a target was missed.
"""

from __future__ import annotations

import importlib
import json
import os
import platform
import sys
import time
from dataclasses import asdict
from pathlib import Path

from tests.bench.result import Figure

FOLDER = Path(__file__).parent
OUTPUT = Path("bench.json")
PREFIX = "bench_"


def main(argv: list[str]) -> int:
    """Run the parts named, all of them without a name."""
    parts = sorted(file.stem.removeprefix(PREFIX) for file in FOLDER.glob(f"{PREFIX}*.py"))
    unknown = set(argv) - set(parts)
    if unknown:
        print(f"There is no part {', '.join(sorted(unknown))}. Parts: {', '.join(parts)}", file=sys.stderr)
        return 2
    results: dict[str, list[Figure]] = {}
    for part in argv or parts:
        began = time.monotonic()
        print(f"{part} …", end=" ", flush=True)
        results[part] = importlib.import_module(f"tests.bench.{PREFIX}{part}").run()
        print(f"{time.monotonic() - began:.0f} s", flush=True)
    print(render(results))
    OUTPUT.write_text(json.dumps(as_json(results), indent=2, ensure_ascii=False) + "\n")
    return 1 if any(f.meets_target is False for figures in results.values() for f in figures) else 0


def render(results: dict[str, list[Figure]]) -> str:
    """The figures as a text table."""
    rows = [("part", "figure", "value", "unit", "target", "", "")]
    for part, figures in results.items():
        rows += [(part, f.name, _number(f.value), f.unit, _target(f), _verdict(f), f.note) for f in figures]
    widths = [max(len(row[column]) for row in rows) for column in range(6)]
    lines = [
        f"{part:{widths[0]}}  {name:{widths[1]}}  {value:>{widths[2]}}  {unit:{widths[3]}}  "
        f"{target:{widths[4]}}  {verdict:{widths[5]}}  {note}".rstrip()
        for part, name, value, unit, target, verdict, note in rows
    ]
    return "\n".join(["", *lines, "", machine()])


def as_json(results: dict[str, list[Figure]]) -> dict[str, object]:
    """The same as plain values."""
    parts = {
        part: [{**asdict(figure), "meets_target": figure.meets_target} for figure in figures]
        for part, figures in results.items()
    }
    return {"machine": machine(), "parts": parts}


def machine() -> str:
    """What it was measured on."""
    with Path("/proc/cpuinfo").open() as file:
        models = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    model = models[0] if models else platform.machine()
    return f"{os.cpu_count()} × {model}, Linux {platform.release()}, Python {platform.python_version()}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.2f}"


def _target(figure: Figure) -> str:
    if figure.at_least is not None:
        return f"≥ {figure.at_least:,g}"
    return "" if figure.at_most is None else f"≤ {figure.at_most:,g}"


def _verdict(figure: Figure) -> str:
    return {True: "met", False: "MISSED", None: ""}[figure.meets_target]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

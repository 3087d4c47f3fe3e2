"""A plan from tables, as `voxpop scale --show` prints them, and back. No I/O."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, cast

from core.scale.assumptions import Plan
from core.scale.figures import Source
from core.schema import read_table, suggest

USUAL = Plan()
Tables = Mapping[str, Mapping[str, object]]


def read(document: Mapping[str, object], problems: list[str]) -> Plan | None:
    """A plan; what is not said is as usual. Faults are appended to `problems`; None when there were any."""
    before = len(problems)
    known = [field.name for field in dataclasses.fields(Plan)]
    problems += [f"[{name}] is not a table; {suggest(name, known)}" for name in document if name not in known]
    parts: dict[str, Any] = {}
    for field in dataclasses.fields(Plan):
        table = document.get(field.name, {})
        parts[field.name] = read_table(type(getattr(USUAL, field.name)), table, field.name, problems)
    return None if len(problems) > before else Plan(**parts)


def merged(*documents: Mapping[str, object]) -> dict[str, object]:
    """Tables over tables, key by key; later ones count."""
    result: dict[str, object] = {}
    for document in documents:
        for name, table in document.items():
            old = result.get(name)
            both = isinstance(old, Mapping) and isinstance(table, Mapping)
            result[name] = {**cast(Tables, old), **cast(Tables, table)} if both else table
    return result


def show(plan: Plan) -> str:
    """TOML that `read` takes, each key with what it means."""
    lines = []
    for part in dataclasses.fields(Plan):
        table = getattr(plan, part.name)
        lines += ["", f"[{part.name}]"]
        for field in dataclasses.fields(table):
            written = f"{field.name} = {_number(getattr(table, field.name))}"
            source: Source | None = field.metadata.get("source")
            words = field.metadata["kind"].words
            if source is not None:
                words = f"{field.metadata['unit']}; make bench ONLY={source.part}"
            lines.append(f"{written:<36}# {field.metadata['help']} ({words})")
    return "\n".join(lines[1:]) + "\n"


def _number(value: float) -> str:
    """As TOML has it, so that it is the same when it is read."""
    return f"{value:.0f}" if value == int(value) else repr(value)

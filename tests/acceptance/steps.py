"""Which steps are played, and what came of them, as values: the state of a run, and its table."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Done:
    """A step that went well."""

    seconds: float
    found: str
    """What was seen, in words for the table."""


class UnknownStepError(ValueError):
    """A name that no step has."""


def chosen(names: Sequence[str], first: str | None, only: Sequence[str]) -> list[str]:
    """The steps to play, in their order: from one on, or some. Raises UnknownStepError."""
    unknown = [name for name in (*only, *([first] if first else [])) if name not in names]
    if unknown:
        raise UnknownStepError(f"There is no step {', '.join(unknown)}. Steps: {', '.join(names)}")
    start = names.index(first) if first else 0
    return [name for name in names[start:] if not only or name in only]


def lacking(names: Sequence[str], to_play: Sequence[str], done: Mapping[str, Done]) -> list[str]:
    """Steps before the first to play that were never done: machines are not as that one takes them."""
    before = names[: names.index(to_play[0])] if to_play else []
    return [name for name in before if name not in done]


def to_text(done: Mapping[str, Done]) -> str:
    """The state of a run, for a file."""
    plain = {name: {"seconds": each.seconds, "found": each.found} for name, each in done.items()}
    return json.dumps(plain, indent=2, ensure_ascii=False) + "\n"


def from_text(text: str) -> dict[str, Done]:
    """The same back. Raises ValueError, KeyError or TypeError for what `to_text` has not made."""
    return {name: Done(float(each["seconds"]), str(each["found"])) for name, each in json.loads(text).items()}


def table(names: Sequence[str], done: Mapping[str, Done], failed: str | None = None) -> str:
    """Each step with its time, for a terminal."""
    rows = [("step", "time", "seen")]
    for name in names:
        if name == failed:
            rows.append((name, "—", "FAILED"))
        elif name in done:
            rows.append((name, _minutes(done[name].seconds), done[name].found))
        else:
            rows.append((name, "—", "not played"))
    rows.append(("all", _minutes(sum(each.seconds for name, each in done.items() if name != failed)), ""))
    first, second = (max(len(row[column]) for row in rows) for column in (0, 1))
    return "\n".join(f"{name:<{first}}  {time:>{second}}  {found}".rstrip() for name, time, found in rows)


def _minutes(seconds: float) -> str:
    whole = round(seconds)
    return f"{whole // 60}:{whole % 60:02}"

"""What a drill is, and what came of one. Values only: playing is `play`'s business."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge.lab.drills.stage import Stage


@dataclass(frozen=True, slots=True)
class Figure:
    """A number that was measured."""

    value: float
    unit: str = ""

    def __str__(self) -> str:
        is_whole = self.value >= 100 or float(self.value).is_integer()
        text = f"{self.value:,.0f}" if is_whole else f"{self.value:.2g}"
        return f"{text} {self.unit}".rstrip()


GAP, PACKETS, CALLS = "audio gap", "packets lost", "calls lost"
"""The figures that have a column of their own."""
BEFORE = "gap before"
"""The longest before anything happened: what the machine itself is late by."""
MIDDLE = "gap in the middle"
"""Of half of the callers it was no longer: what is left of a bar when the machine is late for some."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was measured, and what was not as it must be."""

    figures: Mapping[str, Figure]
    """By name: `GAP`, `PACKETS`, `CALLS` where they make sense, and others."""
    faults: tuple[str, ...] = ()
    """What must hold whatever the machine: a call ended, a warning is missing. A line each."""


@dataclass(frozen=True, slots=True)
class Bar:
    """A limit for a figure: met up to `at_most`."""

    figure: str
    at_most: float
    unit: str = ""

    def __str__(self) -> str:
        return f"{self.figure} ≤ {Figure(self.at_most, self.unit)}" if self.at_most else f"no {self.figure}"

    def missed_by(self, outcome: Outcome) -> str | None:
        """In words; None where it is met. A figure that is not there is a miss."""
        found = outcome.figures.get(self.figure)
        if found is None:
            return f"{self.figure} was not measured"
        if not found.value <= self.at_most:  # which a NaN is not either
            return f"{self.figure} {found}, at most {Figure(self.at_most, self.unit)}"
        return None


@dataclass(frozen=True, slots=True)
class Drill:
    """One row of the table."""

    name: str
    """For the command line: small letters and dashes."""
    title: str
    """What happens, in a few words."""
    bars: tuple[Bar, ...]
    play: Callable[[Stage], Outcome] = field(repr=False, compare=False)
    promise: str = ""
    """What must hold beside the bars, in words; without it a fault is a miss."""
    programs: tuple[str, ...] = ()
    """Of other packages, that it takes."""

    @property
    def bar(self) -> str:
        """All of them in words."""
        return "; ".join([*([self.promise] if self.promise else []), *map(str, self.bars)])


@dataclass(frozen=True, slots=True)
class Verdict:
    """A drill that was played."""

    drill: Drill
    outcome: Outcome
    took_s: float
    misses: tuple[str, ...]
    """Bars that were missed, and faults."""

    @property
    def is_met(self) -> bool:
        """All that is asked."""
        return not self.misses


def judge(drill: Drill, outcome: Outcome, took_s: float) -> Verdict:
    """Hold an outcome against the bars."""
    missed = [miss for bar in drill.bars if (miss := bar.missed_by(outcome)) is not None]
    return Verdict(drill, outcome, took_s, (*missed, *outcome.faults))

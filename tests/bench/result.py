"""What a benchmark measures: a figure with its unit, and the target it must meet if it has one.

A part of the benchmark is a module `tests/bench/bench_NAME.py` with a function `run() -> list[Figure]`,
which may take minutes but needs no arguments. `make bench ONLY=NAME` runs that part alone.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured number. Give `at_least` or `at_most` where there is a target."""

    name: str
    """What was measured, unique within its part, such as "first packets per worker"."""
    value: float
    unit: str
    """As it is printed after the number: "ms", "pps", "sessions/core"."""
    at_least: float | None = None
    at_most: float | None = None
    note: str = ""
    """The conditions that a reader needs, in a few words."""

    @property
    def meets_target(self) -> bool | None:
        """Whether the target is met; None without a target."""
        if self.at_least is None and self.at_most is None:
            return None
        above = self.at_least is None or self.value >= self.at_least
        below = self.at_most is None or self.value <= self.at_most
        return above and below

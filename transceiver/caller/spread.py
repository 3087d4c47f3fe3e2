"""One figure of many calls or turns, in three."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from core.compare import percentile


@dataclass(frozen=True, slots=True)
class Spread:
    """In ms; the percentiles are figures that were measured, by nearest rank."""

    p50: float
    p95: float
    longest: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread | None:
        """None where there are no values."""
        if not values:
            return None
        return cls(percentile(values, 50), percentile(values, 95), max(values))

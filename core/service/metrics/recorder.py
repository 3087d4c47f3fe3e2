"""Counters and histograms in the memory of one process."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from core.service.metrics.series import OTHER, Kind, Row, Series


@dataclass(slots=True)
class Distribution:
    """What a histogram has observed."""

    counts: list[int]
    """By bucket, not cumulative; the last one has what is beyond all bounds."""
    total: float = 0.0
    """The sum of all that was observed."""


class Recorder:
    """Numbers of declared series, all of them at 0 from the start. KeyError for what was not declared."""

    def __init__(self, catalogue: Iterable[Series]) -> None:
        """`catalogue` has counters and histograms whose labels are closed."""
        declared = tuple(catalogue)
        self._counts: dict[Series, dict[Row, int]] = {
            series: dict.fromkeys(series.rows, 0) for series in declared if series.kind is Kind.COUNTER
        }
        self._distributions: dict[Series, dict[Row, Distribution]] = {
            series: {row: Distribution([0] * (len(series.buckets) + 1)) for row in series.rows}
            for series in declared
            if series.kind is Kind.HISTOGRAM
        }

    def count(self, series: Series, *row: str) -> None:
        """One more; as `other` where the row is unknown and the series has that value."""
        rows = self._counts[series]
        rows[_known(row, rows)] += 1

    def observe(self, series: Series, value: float, *row: str) -> None:
        """A measure, in the unit of the series; of `other` as in `count`."""
        rows = self._distributions[series]
        distribution = rows[_known(row, rows)]
        distribution.counts[bisect_left(series.buckets, value)] += 1
        distribution.total += value

    @property
    def counts(self) -> Mapping[Series, Mapping[Row, int]]:
        """Every counter."""
        return self._counts

    @property
    def distributions(self) -> Mapping[Series, Mapping[Row, Distribution]]:
        """Every histogram."""
        return self._distributions


def _known(row: Row, rows: Mapping[Row, object]) -> Row:
    return row if row in rows else (OTHER,) * len(row)

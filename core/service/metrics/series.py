"""What a metric is declared as: its name, what it means, and every value that its labels can have.

Labels are closed: a label that a stranger could put a value into would be a table that he can fill. All
rows of a family are shown from the first scrape on, at 0, since a rate over a series that appears with its
first failure misses that failure.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

Row = tuple[str, ...]
"""One value for each label, in the order of the labels."""

OTHER = "other"
"""The value for what is not among those that are known beforehand."""
UNITS: Final = ("seconds", "bytes", "ratio")
"""Base units of Prometheus; a name ends in its unit, then in `_total` where it counts."""
_NAME = re.compile(r"(voxpop|process)_[a-z][a-z0-9_]*")
"""`process_…` are the standard series that every client library of Prometheus has."""


class Kind(StrEnum):
    """The types of Prometheus that we use."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Bound:
    """The values of a label that the configuration of the host closes; `words` says what they are."""

    words: str


WORKER: Final = Bound("the number of the worker, from 0")

LabelValues = tuple[str, ...] | Bound


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """A family of series, as it is queried and documented. ValueError where it breaks a convention."""

    name: str
    kind: Kind
    help: str
    """Whole sentences."""
    labels: Mapping[str, LabelValues] = field(default_factory=dict)
    without: frozenset[Row] = frozenset()
    """Rows of the closed labels that cannot occur."""
    buckets: tuple[float, ...] = ()
    """Upper bounds of a histogram, ascending, in the unit of the name; infinity comes after the last."""

    def __post_init__(self) -> None:
        faults = {
            "is not voxpop_…, in small letters": _NAME.fullmatch(self.name) is None,
            "ends in _total if and only if it counts": (
                (self.kind is Kind.COUNTER) != self.name.endswith("_total")
            ),
            "has a help that is no sentence": re.fullmatch(r"[A-Z0-9].{20,}\.", self.help) is None,
            "has buckets if and only if it is a histogram": (
                (self.kind is Kind.HISTOGRAM) != bool(self.buckets)
            ),
            "has buckets out of order": list(self.buckets) != sorted(set(self.buckets)),
            "has a label without values, or a value twice": any(
                not values or len(set(values)) < len(values)
                for values in self.labels.values()
                if not isinstance(values, Bound)
            ),
            "is without rows that it cannot have": not self.without <= set(self._product()),
        }
        for fault, is_there in faults.items():
            if is_there:
                raise ValueError(f"{self.name} {fault}")

    @property
    def unit(self) -> str | None:
        """The base unit that the name ends in; None for what is merely counted."""
        last = self.name.removesuffix("_total").rpartition("_")[2]
        return last if last in UNITS else None

    @property
    def rows(self) -> tuple[Row, ...]:
        """Every combination of the closed labels; a bound one has no place in them."""
        return tuple(row for row in self._product() if row not in self.without)

    @property
    def is_closed(self) -> bool:
        """Whether `rows` are all that there can be."""
        return not any(isinstance(values, Bound) for values in self.labels.values())

    def admits(self, row: Row) -> bool:
        """Whether there can be such a row, all labels given."""
        if len(row) != len(self.labels):
            return False
        pairs = list(zip(row, self.labels.values(), strict=True))
        closed = tuple(value for value, values in pairs if not isinstance(values, Bound))
        return closed not in self.without and all(
            value in values for value, values in pairs if not isinstance(values, Bound)
        )

    def of_each_worker(self) -> Series:
        """The same with the label `worker` before the others."""
        return replace(self, labels={"worker": WORKER, **self.labels})

    def _product(self) -> Iterable[Row]:
        closed = [values for values in self.labels.values() if not isinstance(values, Bound)]
        return itertools.product(*closed)


def counter(
    name: str, help_text: str, /, *, without: Iterable[Row] = (), **labels: Iterable[str] | Bound
) -> Series:
    """What only grows. `labels` are label → values, such as the enum that they are members of."""
    return Series(name, Kind.COUNTER, help_text, _closed(labels), frozenset(without))


def gauge(name: str, help_text: str, /, **labels: Iterable[str] | Bound) -> Series:
    """What goes up and down."""
    return Series(name, Kind.GAUGE, help_text, _closed(labels))


def histogram(
    name: str, help_text: str, /, *, buckets: Iterable[float], **labels: Iterable[str] | Bound
) -> Series:
    """How often a measure was within each of its bounds."""
    return Series(name, Kind.HISTOGRAM, help_text, _closed(labels), buckets=tuple(buckets))


def _closed(labels: Mapping[str, Iterable[str] | Bound]) -> dict[str, LabelValues]:
    return {
        label: values if isinstance(values, Bound) else tuple(map(str, values))
        for label, values in labels.items()
    }

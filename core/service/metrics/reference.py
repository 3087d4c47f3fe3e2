"""docs/metrics.md, written from the catalogues of all parts."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from core.service.metrics.series import Bound, Kind, Series

WIDTH = 100

PREAMBLE = """\
# Metrics

Prometheus reads the relay at `relay.metrics`, the transceiver at `transceiver.metrics`,
`voxpop announce` at `announce.metrics` and `voxpop backend` at what `--metrics` says, path
`/metrics`, plain HTTP. `voxpop metrics reference` prints this page, which is written from the
declarations that the daemons show their numbers by.

A name is `voxpop_`, the part, what is measured, its unit (seconds, bytes or ratio; none where
things are counted), and `_total` where it only grows. A label has the values that are listed and no
others: never a client's address, a ufrag or a session. Every series is there from the first scrape
on, at 0. Histograms have `_bucket`, `_sum` and `_count`.
"""


@dataclass(frozen=True, slots=True)
class Section:
    """The series of one part."""

    title: str
    about: str
    catalogue: Sequence[Series]


def write(sections: Iterable[Section]) -> str:
    """The page as Markdown."""
    blocks = [PREAMBLE.strip()]
    for section in sections:
        blocks += [f"## {section.title}", _wrap(section.about)]
        blocks += ["\n".join(_entry(series)) for series in section.catalogue]
    return "\n\n".join(blocks) + "\n"


def _entry(series: Series) -> Iterator[str]:
    unit = "" if series.unit is None else f", {series.unit}"
    yield f"### `{series.name}`\n"
    yield _wrap(f"{series.kind.capitalize()}{unit}. {series.help}")
    if series.labels or series.kind is Kind.HISTOGRAM:
        yield ""
    for label, values in series.labels.items():
        told = values.words if isinstance(values, Bound) else ", ".join(f"`{value}`" for value in values)
        yield _wrap(f"- `{label}`: {told}", "  ")
    if series.without:
        rows = ", ".join(" ".join(f"`{value}`" for value in row) for row in sorted(series.without))
        yield _wrap(f"- never together: {rows}", "  ")
    if series.kind is Kind.HISTOGRAM:
        yield _wrap(f"- `le`: {', '.join(f'`{bound!r}`' for bound in series.buckets)}, `+Inf`", "  ")


def _wrap(text: str, indent: str = "") -> str:
    return textwrap.fill(
        text, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )

"""What a daemon shows at /metrics, compared with what its parts declare."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable

from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families

from core.service.metrics import Bound, Kind, Row, Series

SUFFIXES = {Kind.HISTOGRAM: ("_bucket", "_sum", "_count")}


def complaints(text: str) -> str:
    """Everything that Prometheus's own linter has to say about a scrape."""
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode in (0, 1, 3), done.stderr
    return done.stdout + done.stderr


def assert_is_catalogue(text: str, catalogue: Iterable[Series]) -> None:
    """Families, types, helps, labels and their values are those that were declared, no more and no fewer."""
    shown = {_full_name(family): family for family in text_string_to_metric_families(text)}
    declared = {series.name: series for series in catalogue}
    assert shown.keys() == declared.keys()
    for name, series in declared.items():
        family = shown[name]
        assert (family.type, family.documentation) == (series.kind, series.help), name
        for suffix in SUFFIXES.get(series.kind, ("",)):
            _assert_rows(series, [s.labels for s in family.samples if s.name == name + suffix], suffix)
        names = {name + suffix for suffix in SUFFIXES.get(series.kind, ("",))}
        assert {sample.name for sample in family.samples} <= names


def _full_name(family: Metric) -> str:
    return family.name + ("_total" if family.type == "counter" else "")


def _assert_rows(series: Series, shown: list[dict[str, str]], suffix: str) -> None:
    bounds = [*map(repr, series.buckets), "+Inf"] if suffix == "_bucket" else [None]
    labels = set(series.labels) | ({"le"} if suffix == "_bucket" else set())
    assert all(set(row) == labels for row in shown), series.name
    bound = {label for label, values in series.labels.items() if isinstance(values, Bound)}
    by_host: dict[Row, set[Row]] = {}
    for row in shown:
        key = tuple(row[label] for label in series.labels if label in bound)
        closed = tuple(row[label] for label in series.labels if label not in bound)
        by_host.setdefault(key, set()).add((*closed, row.get("le", "")))
    expected = {(*row, limit or "") for row in series.rows for limit in bounds}
    assert by_host, series.name
    assert all(rows == expected for rows in by_host.values()), series.name
    assert len(shown) == len(by_host) * len(expected), "each once"

"""Declared series and their values as Prometheus reads them. The sole importer of Prometheus's client."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from core.service.metrics.recorder import Distribution, Recorder
from core.service.metrics.series import Kind, Row, Series, counter, gauge

CONTENT_TYPE = CONTENT_TYPE_LATEST

Family = Metric
"""A declared series with its values."""

PROCESS: tuple[Series, ...] = (
    gauge("process_virtual_memory_bytes", "Virtual memory size in bytes."),
    gauge("process_resident_memory_bytes", "Resident memory size in bytes."),
    gauge("process_start_time_seconds", "Start time of the process since unix epoch in seconds."),
    counter("process_cpu_seconds_total", "Total user and system CPU time spent in seconds."),
    gauge("process_open_fds", "Number of open file descriptors."),
    gauge("process_max_fds", "Maximum number of open file descriptors."),
)
"""What Prometheus's clients show of a process, in every language under these names and with these words."""


def family(series: Series, values: Mapping[Row, float]) -> Family:
    """A counter or gauge by row. ValueError for rows that were not declared or are missing."""
    _check(series, values)
    labels = list(series.labels)
    shown: Metric
    if series.kind is Kind.COUNTER:
        shown = counted = CounterMetricFamily(series.name, series.help, labels=labels)
        for row, value in values.items():
            counted.add_metric(row, value)
    else:
        shown = measured = GaugeMetricFamily(series.name, series.help, labels=labels)
        for row, value in values.items():
            measured.add_metric(row, value)
    return shown


def plain(series: Series, value: float) -> Family:
    """A counter or gauge that has no labels."""
    return family(series, {(): value})


def by_label(series: Series, values: Mapping[str, float]) -> Family:
    """A counter or gauge that has one label."""
    return family(series, {(value,): number for value, number in values.items()})


def by_worker(series: Series, values: Iterable[float]) -> Family:
    """A counter or gauge with one label, `worker`; the values in the order of the workers."""
    return by_label(series, {str(index): value for index, value in enumerate(values)})


def histogram_family(series: Series, values: Mapping[Row, Distribution]) -> Family:
    """A histogram by row. ValueError for rows that were not declared or are missing."""
    _check(series, values)
    shown = HistogramMetricFamily(series.name, series.help, labels=list(series.labels))
    bounds = [*map(repr, series.buckets), "+Inf"]
    for row, distribution in values.items():
        cumulative = itertools.accumulate(distribution.counts)
        shown.add_metric(row, list(zip(bounds, cumulative, strict=True)), distribution.total)
    return shown


def recorded(recorder: Recorder) -> Iterator[Family]:
    """Everything that was recorded."""
    for series, distributions in recorder.distributions.items():
        yield histogram_family(series, distributions)
    for series, counts in recorder.counts.items():
        yield family(series, counts)


def of_this_process() -> Iterator[Family]:
    """`PROCESS`, as the kernel tells it."""
    return iter(ProcessCollector(registry=None).collect())


def render(families: Iterable[Family]) -> bytes:
    """The text of a scrape."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collected(list(families)))
    return generate_latest(registry)


def merge(texts: Mapping[int, str]) -> Iterator[Family]:
    """The texts of all workers, by their number, as one: each sample gets the label `worker`, the families
    stand in the order of the first worker that has them.
    """
    merged: dict[str, Metric] = {}
    for worker, text in texts.items():
        for found in text_string_to_metric_families(text):
            into = merged.setdefault(found.name, Metric(found.name, found.documentation, found.type))
            for sample in found.samples:
                into.add_sample(sample.name, {"worker": str(worker), **sample.labels}, sample.value)
    yield from merged.values()


class _Collected(Collector):
    """What was collected already; a registry wants to be called back."""

    def __init__(self, families: list[Family]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def _check(series: Series, values: Mapping[Row, object]) -> None:
    undeclared = [row for row in values if not series.admits(row)]
    missing = set(series.rows) - values.keys() if series.is_closed else set()
    if undeclared or missing:
        raise ValueError(f"{series.name}: undeclared {undeclared}, missing {sorted(missing)}")

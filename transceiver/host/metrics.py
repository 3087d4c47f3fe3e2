"""The numbers of one process as Prometheus series, and of a whole host by process.

Every series exists from the start, at 0: a rate over a series that appears with its first failure misses
that failure. Labels are members of closed enums; what is not among them counts as `other`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from transceiver.observer import EndReason
from transceiver.sdp import SdpReason
from transceiver.signaling.refusals import HttpReason

disable_created_metrics()  # type: ignore[no-untyped-call]  # a start time per series helps nobody

OTHER = "other"
STAGES = ("signaling", "ice", "dtls", "audio")
SETUP_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.08, 0.15, 0.3, 0.6, 1.2, 2.5, 5.0, 10.0, 30.0)
TURN_BUCKETS_S = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.75, 1.0, 2.0, 5.0)
"""Close together around 300 ms, beyond which talking does not feel like talking."""


class ReasonCounter:
    """A counter with one label whose values are known beforehand."""

    def __init__(
        self, name: str, text: str, label: str, values: Iterable[str], registry: CollectorRegistry
    ) -> None:
        counter = Counter(name, text, [label], registry=registry)
        self._of = {str(value): counter.labels(str(value)) for value in (*values, OTHER)}

    def count(self, value: str) -> None:
        """One more."""
        self._of.get(value, self._of[OTHER]).inc()


class Metrics:
    """An Observer; `exposition` is what /metrics shows."""

    def __init__(self, packet_reasons: Iterable[str] = ()) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        setup = Histogram(
            "voxpop_session_setup_seconds",
            "Time of each stage of a call's set-up: signaling until the answer, then ice until the first "
            "check, dtls until the keys, audio until the first packet",
            ["stage"],
            buckets=SETUP_BUCKETS_S,
            registry=self.registry,
        )
        self._setup = {stage: setup.labels(stage) for stage in STAGES}
        self._turn = Histogram(
            "voxpop_turn_latency_seconds",
            "From the end of the caller's speech to the first audio of the answer",
            buckets=TURN_BUCKETS_S,
            registry=self.registry,
        )
        self._ended = ReasonCounter(
            "voxpop_sessions_ended", "Sessions that ended, by reason", "reason", EndReason, self.registry
        )
        self._packets_refused = ReasonCounter(
            "voxpop_transceiver_packets_refused",
            "Datagrams, or messages in them, that were refused, by reason",
            "reason",
            packet_reasons,
            self.registry,
        )
        self._requests_refused = ReasonCounter(
            "voxpop_http_requests_refused",
            "HTTP requests refused, by reason",
            "reason",
            (*HttpReason, *SdpReason),
            self.registry,
        )

    def setup_stage(self, stage: str, seconds: float) -> None:
        """See Observer."""
        self._setup[stage].observe(seconds)

    def turn(self, seconds: float) -> None:
        """See Observer."""
        self._turn.observe(seconds)

    def session_ended(self, reason: str) -> None:
        """See Observer."""
        self._ended.count(reason)

    def packet_refused(self, reason: str) -> None:
        """See Observer."""
        self._packets_refused.count(reason)

    def request_refused(self, reason: str) -> None:
        """See Observer."""
        self._requests_refused.count(reason)

    def register(self, collector: Collector) -> None:
        """Show what a collector reads at each scrape, too."""
        self.registry.register(collector)

    def exposition(self) -> bytes:
        """The text format of Prometheus."""
        return generate_latest(self.registry)


STATES = ("starting", "ready", "draining")


@dataclass(frozen=True, slots=True)
class HostStatus:
    """What the supervisor knows."""

    state: str
    restarts: Sequence[int]
    """By process."""
    reloads: Mapping[str, int]
    """By outcome: `done`, `refused`."""


class HostCollector(Collector):
    """The expositions of all processes in one, each sample labelled with its process."""

    def __init__(self, expositions: Mapping[int, str], status: HostStatus) -> None:
        self._expositions = expositions
        self._status = status

    def collect(self) -> Iterator[Metric]:
        """The host's own families, then the processes' in the order of the first that has them."""
        yield from self._own()
        merged: dict[str, Metric] = {}
        for process, text in self._expositions.items():
            for family in text_string_to_metric_families(text):
                fresh = Metric(family.name, family.documentation, family.type)
                metric = merged.setdefault(family.name, fresh)
                for sample in family.samples:
                    labels = {**sample.labels, "process": str(process)}
                    metric.add_sample(sample.name, labels, sample.value)
        yield from merged.values()

    def _own(self) -> Iterator[Metric]:
        state = GaugeMetricFamily(
            "voxpop_transceiver_state", "1 for the state of this host", labels=["state"]
        )
        for known in STATES:
            state.add_metric([known], known == self._status.state)
        up = GaugeMetricFamily(
            "voxpop_process_up", "Whether the process told its numbers", labels=["process"]
        )
        restarts = CounterMetricFamily(
            "voxpop_process_restarts", "Times that the process died and was replaced", labels=["process"]
        )
        for index, count in enumerate(self._status.restarts):
            up.add_metric([str(index)], index in self._expositions)
            restarts.add_metric([str(index)], count)
        reloads = CounterMetricFamily("voxpop_config_reloads", "SIGHUPs, by outcome", labels=["outcome"])
        for outcome, count in self._status.reloads.items():
            reloads.add_metric([outcome], count)
        yield from (state, up, restarts, reloads)


def host_exposition(expositions: Mapping[int, str], status: HostStatus) -> bytes:
    """One text for a whole host; `expositions` is by process, without those that did not answer."""
    registry = CollectorRegistry()
    registry.register(HostCollector(expositions, status))
    return generate_latest(registry)

"""The relay's Prometheus metrics: one collector that reads the workers' shared counters on a scrape."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib.metadata import version

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from core.service.sockets import kernel_drops
from edge.metrics import fastpath as fastpath_metrics
from edge.metrics.status import HostStatus, State
from edge.relay.counters import FIRST_PACKET_BUCKETS_NS, SERIES, Direction

CONTENT_TYPE = CONTENT_TYPE_LATEST

_SHARED: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "received_packets": (
        "voxpop_relay_received_packets",
        "Datagrams read: upstream from clients, downstream from transceivers. Each of them ends as one of "
        "voxpop_relay_packets_total.",
        ("direction",),
    ),
    "received_bytes": (
        "voxpop_relay_received_bytes",
        "Bytes of UDP payload in voxpop_relay_received_packets_total.",
        ("direction",),
    ),
    "packets": (
        "voxpop_relay_packets",
        "Datagrams by what they came to: forwarded, refused (see voxpop_relay_refusals_total), or failed in "
        "sending (see voxpop_relay_send_failures_total).",
        ("direction", "outcome"),
    ),
    "bytes": (
        "voxpop_relay_bytes",
        "Bytes of UDP payload in voxpop_relay_packets_total.",
        ("direction", "outcome"),
    ),
    "refusals": (
        "voxpop_relay_refusals",
        "Datagrams from clients dropped without an answer, by reason: malformed STUN (stun_*), a ufrag that "
        "is no good token (token_*), or what the relay itself had against them.",
        ("reason",),
    ),
    "send_failures": (
        "voxpop_relay_send_failures",
        "Datagrams that the kernel did not take for sending, by error.",
        ("direction", "error"),
    ),
    "pending_errors": (
        "voxpop_relay_upstream_errors",
        "ICMP errors that transceivers' hosts or routers sent about earlier upstream packets, by error. "
        "refused: no process has that port.",
        ("error",),
    ),
    "installs": (
        "voxpop_relay_flow_installs",
        "Proven first packets by what became of their flow: installed, rebound (an existing flow goes by "
        "another ufrag), or why it could not be had. adopted: no packet, but a flow that the fast path had "
        "when the relay started.",
        ("result",),
    ),
    "removals": (
        "voxpop_relay_flow_removals",
        "Flows that ended: idle, moved (the client address leads to another transceiver), or lost with their "
        "worker. Installed and adopted minus removed is voxpop_relay_flows.",
        ("cause",),
    ),
}


class RelayCollector(Collector):
    """Reads everything at the time of the scrape; all series exist from the first one on."""

    def __init__(self, status: HostStatus) -> None:
        self._status = status

    def collect(self) -> Iterable[Metric]:
        """Every metric of the relay."""
        fast_path = self._status.fast_path
        counts = fastpath_metrics.read(None if fast_path is None else fast_path.tables)
        yield from self._shared_counters()
        yield from self._carried(counts)
        if fast_path is not None:
            yield from fastpath_metrics.collect(fast_path, counts)
        yield self._first_packet()
        yield from self._per_worker()
        yield from self._host()

    def _sum(self, family: str, *labels: str) -> int:
        return sum(counters.get(family, *labels) for counters in self._status.counters)

    def _shared_counters(self) -> Iterator[Metric]:
        for family, (name, text, label_names) in _SHARED.items():
            metric = CounterMetricFamily(name, text, labels=label_names)
            for labels in SERIES[family]:
                metric.add_metric(labels, self._sum(family, *labels))
            yield metric

    def _carried(self, counts: fastpath_metrics.Counts) -> Iterator[Metric]:
        packets = CounterMetricFamily(
            "voxpop_relay_carried_packets",
            "Datagrams carried, by who did it: the XDP program (fast) or a worker (slow).",
            labels=["direction", "path"],
        )
        sizes = CounterMetricFamily(
            "voxpop_relay_carried_bytes",
            "Bytes of UDP payload in voxpop_relay_carried_packets_total.",
            labels=["direction", "path"],
        )
        for direction in Direction:
            fast = fastpath_metrics.carried(counts, direction)
            packets.add_metric([direction, "fast"], fast.packets)
            packets.add_metric([direction, "slow"], self._sum("packets", direction, "forwarded"))
            sizes.add_metric([direction, "fast"], fast.bytes)
            sizes.add_metric([direction, "slow"], self._sum("bytes", direction, "forwarded"))
        yield from (packets, sizes)

    def _first_packet(self) -> Metric:
        metric = HistogramMetricFamily(
            "voxpop_relay_first_packet_seconds",
            "From the wake-up that read a flow's first packet to its having been sent on.",
        )
        buckets: list[tuple[str, float]] = []
        total = 0
        for bound in FIRST_PACKET_BUCKETS_NS:
            total += self._sum("first_packet_bucket", str(bound))
            buckets.append((repr(bound / 1e9), total))
        buckets.append(("+Inf", total + self._sum("first_packet_bucket", "inf")))
        metric.add_metric([], buckets, self._sum("first_packet_sum_ns") / 1e9)
        return metric

    def _per_worker(self) -> Iterator[Metric]:
        status = self._status
        flows = GaugeMetricFamily("voxpop_relay_flows", "Flows that are being carried.", labels=["worker"])
        capacity = GaugeMetricFamily(
            "voxpop_relay_flow_capacity", "Flows that a worker carries at most.", labels=["worker"]
        )
        restarts = CounterMetricFamily(
            "voxpop_relay_worker_restarts", "Times that a worker died and was replaced.", labels=["worker"]
        )
        for index, worker in enumerate(status.supervisor.workers):
            flows.add_metric([str(index)], status.counters[index].get("flows"))
            capacity.add_metric([str(index)], status.flow_capacity[index])
            restarts.add_metric([str(index)], worker.restarts)
        drops = CounterMetricFamily(
            "voxpop_relay_vip_drops",
            "Datagrams that the kernel dropped because a VIP socket's buffer was full.",
            labels=["vip"],
        )
        for index, vip in enumerate(status.vips):
            drops.add_metric([str(vip)], sum(kernel_drops(group[index]) for group in status.sockets))
        yield from (flows, capacity, restarts, drops)

    def _host(self) -> Iterator[Metric]:
        status = self._status
        info = GaugeMetricFamily(
            "voxpop_relay_info", "1, with what this relay is.", labels=["pop", "forwarder"]
        )
        info.add_metric([status.pop, status.forwarder], 1)
        build = GaugeMetricFamily("voxpop_build_info", "1, with the version of Voxpop.", labels=["version"])
        build.add_metric([version("voxpop")], 1)
        reloads = CounterMetricFamily(
            "voxpop_relay_reloads", "Configuration reloads (SIGHUP) by result.", labels=["result"]
        )
        reloads.add_metric(["ok"], status.reloads)
        reloads.add_metric(["refused"], status.failed_reloads)
        yield from (info, build, reloads)
        yield GaugeMetricFamily(
            "voxpop_relay_draining",
            "1 while the relay takes no new flows and waits for the existing ones to end.",
            value=int(status.state is State.DRAINING),
        )
        yield GaugeMetricFamily(
            "voxpop_relay_config_loaded_timestamp_seconds",
            "When the configuration in use was read, Unix time.",
            value=status.loaded_at_s,
        )


def render(status: HostStatus) -> bytes:
    """The exposition text of a scrape."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(RelayCollector(status))
    return generate_latest(registry)

"""What the fast path counts, as metrics. Its counters are in pinned maps: no restart sets them back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from ebpf.tables import Count, Tables
from ebpf.verdict import FAMILIES, REASONS, Family, Reason
from edge.metrics.status import FastPathStatus
from edge.relay.counters import Direction

Counts = Mapping[Family, Mapping[Reason, Count]]

HEADER_BYTES = {Family.NONE: 0, Family.IPV4: 28, Family.IPV6: 48}
"""Of IP and UDP: what is forwarded has neither options nor extension headers."""
_FORWARDED = {Direction.UPSTREAM: Reason.FORWARD_UP, Direction.DOWNSTREAM: Reason.FORWARD_DOWN}


def carried(counts: Counts, direction: Direction) -> Count:
    """Packets that the fast path forwarded in a direction, and bytes of UDP payload."""
    rows = [(HEADER_BYTES[family], counts[family][_FORWARDED[direction]]) for family in FAMILIES]
    packets = sum(count.packets for _, count in rows)
    return Count(packets, sum(count.bytes - header * count.packets for header, count in rows))


def read(tables: Tables | None) -> Counts:
    """The counters; all 0 where there is no fast path."""
    if tables is None:
        return {family: dict.fromkeys(REASONS, Count(0, 0)) for family in FAMILIES}
    return tables.counts()


def collect(host: FastPathStatus, counts: Counts) -> Iterator[Metric]:
    """Every metric of the fast path itself."""
    yield from _verdicts(counts)
    yield from _state(host)


def _verdicts(counts: Counts) -> Iterable[Metric]:
    packets = CounterMetricFamily(
        "voxpop_fastpath_packets",
        "Packets that the XDP program saw, each counted once, by what it did with them and why: forwarded, "
        "punted to the relay, passed to the kernel, or dropped.",
        labels=["verdict", "family"],
    )
    sizes = CounterMetricFamily(
        "voxpop_fastpath_bytes",
        "Bytes of the IP layer in voxpop_fastpath_packets_total, where they were read.",
        labels=["verdict", "family"],
    )
    for family, rows in counts.items():
        for reason, count in rows.items():
            packets.add_metric([reason, family], count.packets)
            sizes.add_metric([reason, family], count.bytes)
    return packets, sizes


def _state(host: FastPathStatus) -> Iterable[Metric]:
    hops = GaugeMetricFamily(
        "voxpop_fastpath_nexthops",
        "Routers and hosts on our links that flows may lead to; those that are unusable do not answer, or "
        "are behind an interface without the fast path.",
        labels=["state"],
    )
    hops.add_metric(["usable"], host.nexthops.usable)
    hops.add_metric(["unusable"], len(host.nexthops) - host.nexthops.usable)
    attached = GaugeMetricFamily(
        "voxpop_fastpath_attached",
        "1 where an interface runs the program, by mode; 0 in both where the interface is gone.",
        labels=["interface", "mode"],
    )
    for name in host.interfaces:
        for mode in ("native", "generic"):
            attached.add_metric([name, mode], int(host.modes.get(name) == mode))
    return hops, attached

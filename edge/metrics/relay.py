"""What a scrape of the relay reads: the shared counters of its workers, and what the host knows."""

from __future__ import annotations

import math
from collections.abc import Iterator

from core.service.metrics import Kind, Row, Series, exposition
from core.service.metrics import daemon as daemon_metrics
from core.service.metrics.exposition import (
    Family,
    by_label,
    by_worker,
    family,
    histogram_family,
    plain,
)
from core.service.metrics.recorder import Distribution
from core.service.sockets import kernel_drops
from ebpf.layout import SCHEMA_VERSION
from edge.metrics import fastpath as fastpath_metrics
from edge.metrics.catalogue import (
    CARRIED_BYTES,
    CARRIED_PACKETS,
    CLOCK_AHEAD,
    CONFIG_LOADED,
    FLOW_CAPACITY,
    INFO,
    KERNEL_DROPS,
)
from edge.metrics.status import HostStatus
from edge.relay.counters import FIRST_PACKET_BUCKETS_NS, SHARED, Direction


def render(status: HostStatus, now_ns: int) -> bytes:
    """The text of a scrape; `now_ns` is monotonic."""
    return exposition.render(_families(status, now_ns))


def _families(status: HostStatus, now_ns: int) -> Iterator[Family]:
    fast_path = status.fast_path
    counts = fastpath_metrics.read(None if fast_path is None else fast_path.tables)
    restarts = [worker.restarts for worker in status.supervisor.workers]
    lifecycle = status.lifecycle
    yield from daemon_metrics.families(
        lifecycle.state,
        lifecycle.reloads,
        restarts,
        lifecycle.drain_until_s,
        status.heartbeats,
        str(SCHEMA_VERSION),
    )
    for name, series in SHARED.items():
        yield _shared(status, name, series)
    yield from _carried(status, counts)
    yield from _host(status)
    ahead_s = status.clocks.farthest_s(now_ns)
    yield plain(CLOCK_AHEAD, math.nan if ahead_s is None else ahead_s)
    if fast_path is not None:
        yield from fastpath_metrics.collect(fast_path, counts)


def _shared(status: HostStatus, name: str, series: Series) -> Family:
    if series.kind is Kind.HISTOGRAM:
        return histogram_family(series, {(): _distribution(status, name)})
    if "worker" in series.labels:
        return by_worker(series, [counters.get(name) for counters in status.counters])
    return family(series, {row: _sum(status, name, *row) for row in series.rows})


def _sum(status: HostStatus, name: str, *row: str) -> int:
    return sum(counters.get(name, *row) for counters in status.counters)


def _distribution(status: HostStatus, name: str) -> Distribution:
    bounds = (*map(str, FIRST_PACKET_BUCKETS_NS), "inf")
    counts = [_sum(status, f"{name}_bucket", bound) for bound in bounds]
    return Distribution(counts, _sum(status, f"{name}_sum_ns") / 1e9)


def _carried(status: HostStatus, counts: fastpath_metrics.Counts) -> Iterator[Family]:
    packets: dict[Row, int] = {}
    sizes: dict[Row, int] = {}
    for direction in Direction:
        fast = fastpath_metrics.carried(counts, direction)
        packets[direction, "fast"], sizes[direction, "fast"] = fast.packets, fast.bytes
        packets[direction, "slow"] = _sum(status, "packets", direction, "forwarded")
        sizes[direction, "slow"] = _sum(status, "bytes", direction, "forwarded")
    yield family(CARRIED_PACKETS, packets)
    yield family(CARRIED_BYTES, sizes)


def _host(status: HostStatus) -> Iterator[Family]:
    yield by_worker(FLOW_CAPACITY, status.flow_capacity)
    drops = {
        str(vip): sum(kernel_drops(group[index]) for group in status.sockets)
        for index, vip in enumerate(status.vips)
    }
    yield by_label(KERNEL_DROPS, drops)
    yield family(INFO, {(status.pop, status.forwarder): 1})
    yield plain(CONFIG_LOADED, status.lifecycle.loaded_at_s)

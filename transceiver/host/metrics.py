"""The numbers of a whole host: what the supervisor knows, and what its workers answered."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from core.service.metrics import daemon as daemon_metrics
from core.service.metrics.daemon import HeartbeatCounts
from core.service.metrics.exposition import Family, by_label, by_worker, merge, plain, render
from core.store.base import StoreReason
from core.store.heartbeat import HeartbeatReason
from transceiver.host.catalogue import (
    CALLS_LOST,
    HEARTBEATS_IGNORED,
    LOCATIONS_AGE,
    POP_CLOCK,
    POP_HOSTS,
    POP_LOAD,
    POP_UP,
    REGION_UP,
    STORE_FAILURES,
    WORKER_UP,
)
from transceiver.host.pop_reports import PopReports
from transceiver.signaling.pops import Standing


@dataclass(frozen=True, slots=True)
class HostStatus:
    """What the supervisor knows."""

    state: str
    restarts: Sequence[int]
    """By worker."""
    reloads: Mapping[str, int]
    """By outcome: `done`, `refused`."""
    pops: PopReports
    lost: Sequence[int]
    """Calls, by worker."""
    regions: Mapping[str, bool]
    """Whether each of the other regions takes calls."""
    locations_age_s: float
    """Of the database of locations; not a number without one."""
    drain_until_s: float = 0.0
    """Unix time; 0 without a drain."""
    heartbeats: HeartbeatCounts | None = None


def host_exposition(expositions: Mapping[int, str], status: HostStatus) -> bytes:
    """One text for a whole host; `expositions` is by worker, without those that did not answer."""
    return render(_families(expositions, status))


def _families(expositions: Mapping[int, str], status: HostStatus) -> Iterator[Family]:
    yield from daemon_metrics.families(
        status.state, status.reloads, status.restarts, status.drain_until_s, status.heartbeats
    )
    yield by_worker(WORKER_UP, [int(worker in expositions) for worker in range(len(status.restarts))])
    yield by_worker(CALLS_LOST, status.lost)
    reports = status.pops.reports
    yield by_label(POP_UP, {pop: int(report.standing is Standing.UP) for pop, report in reports.items()})
    loads = {pop: math.nan if report.load is None else report.load for pop, report in reports.items()}
    yield by_label(POP_LOAD, loads)
    yield by_label(POP_CLOCK, status.pops.clocks_ahead_s)
    yield by_label(POP_HOSTS, status.pops.hosts)
    ignored, failures = status.pops.ignored, status.pops.failures
    yield by_label(HEARTBEATS_IGNORED, {reason: ignored[reason] for reason in HeartbeatReason})
    yield by_label(STORE_FAILURES, {reason: failures.get(reason, 0) for reason in StoreReason})
    yield by_label(REGION_UP, {url: int(is_ready) for url, is_ready in status.regions.items()})
    yield plain(LOCATIONS_AGE, status.locations_age_s)
    yield from merge(expositions)

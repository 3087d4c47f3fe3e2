"""The numbers of a whole host: what the supervisor knows, and what its workers answered."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from core.service.metrics import daemon as daemon_metrics
from core.service.metrics.exposition import Family, by_worker, merge, render
from transceiver.host.catalogue import WORKER_UP


@dataclass(frozen=True, slots=True)
class HostStatus:
    """What the supervisor knows."""

    state: str
    restarts: Sequence[int]
    """By worker."""
    reloads: Mapping[str, int]
    """By outcome: `done`, `refused`."""


def host_exposition(expositions: Mapping[int, str], status: HostStatus) -> bytes:
    """One text for a whole host; `expositions` is by worker, without those that did not answer."""
    return render(_families(expositions, status))


def _families(expositions: Mapping[int, str], status: HostStatus) -> Iterator[Family]:
    yield from daemon_metrics.families(status.state, status.reloads, status.restarts)
    yield by_worker(WORKER_UP, [int(worker in expositions) for worker in range(len(status.restarts))])
    yield from merge(expositions)

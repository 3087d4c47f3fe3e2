"""What relay and transceiver tell of themselves under the same names, so that one rule watches both."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Protocol

from core.service.build import COMMIT, VERSION
from core.service.metrics.exposition import Family, by_label, by_worker, family, plain
from core.service.metrics.reference import Section
from core.service.metrics.series import WORKER, Bound, Series, counter, gauge
from core.store.base import StoreReason


class State(StrEnum):
    """Whether a daemon takes work."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"


OUTCOMES = ("done", "refused")

NO_SCHEMA = "none"
"""Of a daemon that uses no maps."""
BUILD_INFO = gauge(
    "voxpop_build_info",
    "Always 1, with the version of Voxpop, the commit that it was built from, and the version of the layout "
    "of the fast path's maps.",
    version=Bound("as released"),
    commit=Bound("its first twelve digits, or `unknown` in a checkout"),
    schema=Bound("that of the pin path, or `none` in a transceiver"),
)
STATE = gauge(
    "voxpop_daemon_state",
    "1 for the state of the daemon, 0 for the others. One that drains takes no new sessions or flows and "
    "waits for the existing ones to end.",
    state=State,
)
RELOADS = counter(
    "voxpop_daemon_reloads_total",
    "Reloads of the configuration and the keys (SIGHUP), by outcome. After a refused one, the old settings "
    "stay.",
    outcome=OUTCOMES,
)
RESTARTS = counter(
    "voxpop_daemon_worker_restarts_total", "Times that a worker died and was replaced.", worker=WORKER
)
DRAIN_DEADLINE = gauge(
    "voxpop_daemon_drain_deadline_timestamp_seconds",
    "When the time of the drain is over and what is left is ended, Unix time; 0 while there is no drain.",
)
HEARTBEATS = counter(
    "voxpop_daemon_heartbeats_written_total", "Heartbeats that were written into the store. 0 without one."
)
HEARTBEAT_FAILURES = counter(
    "voxpop_daemon_heartbeat_failures_total",
    "Heartbeats that the store did not take, by reason, those that were not tried (breaker_open) among them.",
    reason=StoreReason,
)
DAEMON: tuple[Series, ...] = (
    BUILD_INFO,
    STATE,
    RELOADS,
    RESTARTS,
    DRAIN_DEADLINE,
    HEARTBEATS,
    HEARTBEAT_FAILURES,
)
SECTION = Section("Daemons", "Shown by relays and transceivers alike.", DAEMON)


class HeartbeatCounts(Protocol):
    """What a daemon counts of its heartbeats."""

    @property
    def written(self) -> int:
        """Those that the store took."""

    @property
    def failures(self) -> Mapping[StoreReason, int]:
        """Those that it did not take."""


def families(
    state: str,
    reloads: Mapping[str, int],
    restarts: Sequence[int],
    drain_until_s: float,
    heartbeats: HeartbeatCounts | None = None,
    schema: str = NO_SCHEMA,
) -> Iterator[Family]:
    """All of `DAEMON`. `reloads` is by outcome, `restarts` by worker, `drain_until_s` Unix time or 0,
    `schema` is the version of the layout of the maps that the daemon uses.
    """
    yield family(BUILD_INFO, {(VERSION, COMMIT, schema): 1})
    yield by_label(STATE, {known: int(known == state) for known in State})
    yield by_label(RELOADS, reloads)
    yield by_worker(RESTARTS, restarts)
    yield plain(DRAIN_DEADLINE, drain_until_s)
    yield plain(HEARTBEATS, 0 if heartbeats is None else heartbeats.written)
    failures = {} if heartbeats is None else heartbeats.failures
    yield by_label(HEARTBEAT_FAILURES, {reason: failures.get(reason, 0) for reason in StoreReason})

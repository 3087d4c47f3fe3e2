"""Counters in shared memory: one array of u64 per worker, which the supervisor reads.

The worker is the only writer, so an increment needs no lock; an aligned u64 is never read half-written.
The supervisor owns the memory, so what a worker counted outlives it, and its successor counts on.
"""

from __future__ import annotations

import errno
import itertools
import mmap
import os
from collections.abc import Iterator
from enum import StrEnum
from typing import NewType

from core.service.metrics import WORKER, Kind, Series, counter, gauge, histogram
from core.store.base import StoreReason
from core.store.flow_record import RecordReason
from core.token import TokenReason
from edge.relay.verdict import REFUSALS, RelayReason

CounterIndex = NewType("CounterIndex", int)
"""Of a series, in the array of a worker."""


class Direction(StrEnum):
    """Whom a packet is for: upstream the transceiver, downstream the client."""

    UPSTREAM = "upstream"
    DOWNSTREAM = "downstream"


class SendError(StrEnum):
    """Why a datagram was not sent: mostly, that the kernel did not take it or could not deliver it."""

    WOULD_BLOCK = "would_block"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    TOO_BIG = "too_big"
    UNRESOLVED = "unresolved"
    """It still waited for the MAC address of a neighbour when the worker ended."""
    OTHER = "other"


_ERROR_BY_ERRNO = {
    errno.EAGAIN: SendError.WOULD_BLOCK,
    errno.ENOBUFS: SendError.WOULD_BLOCK,
    errno.ECONNREFUSED: SendError.REFUSED,
    errno.EHOSTUNREACH: SendError.UNREACHABLE,
    errno.ENETUNREACH: SendError.UNREACHABLE,
    errno.EADDRNOTAVAIL: SendError.UNREACHABLE,
    errno.EMSGSIZE: SendError.TOO_BIG,
}

PENDING_ERRORS = tuple(e for e in SendError if e not in (SendError.WOULD_BLOCK, SendError.UNRESOLVED))
"""Those that the kernel reports of an earlier datagram."""
SEND_FAILURES: tuple[tuple[Direction, SendError], ...] = tuple(
    (direction, error)
    for direction, error in itertools.product(Direction, SendError)
    if (direction, error) != (Direction.DOWNSTREAM, SendError.UNRESOLVED)
)
"""Downstream nothing waits."""
INSTALL_RESULTS: tuple[str, ...] = (
    "installed",
    "adopted",
    "rebound",
    RelayReason.TABLE_FULL,
    RelayReason.TOO_MANY_ADDRESSES,
    RelayReason.SOURCE_SHARE,
    RelayReason.NO_DESCRIPTORS,
    RelayReason.NO_NAT_PORT,
    RelayReason.UNREACHABLE,
)


class Removal(StrEnum):
    """Why a flow ended."""

    IDLE = "idle"
    """Its client was silent."""
    UNANSWERED = "unanswered"
    """Its transceiver was silent, from the beginning or since."""
    EVICTED = "evicted"
    """It made room for another."""
    DRAINED = "drained"
    """The time of a drain was over."""
    MOVED = "moved"
    """Another call has its address."""
    LOST = "lost"
    """Its worker died."""


FIRST_PACKET_BUCKETS_NS = tuple(
    int(us * 1000) for us in (50, 100, 200, 500, 1000, 2000, 5000, 10_000, 50_000, 250_000)
)

RECALL_OUTCOMES: tuple[str, ...] = (
    "restored",
    "already_there",
    "not_found",
    "store_failed",
    "crowded",
    *RecordReason,
    *(reason for reason in TokenReason if reason not in (TokenReason.NO_USERNAME, TokenReason.EXPIRED)),
    RelayReason.NO_SOURCE_PORT,
    RelayReason.DRAINING,
    *(reason for reason in INSTALL_RESULTS if reason in set(RelayReason)),
)
LEASE_OUTCOMES = ("written", "failed", "key_gone")

_DOWN_REFUSED = (Direction.DOWNSTREAM, "refused")
"""What a transceiver sends to a flow is carried, whatever it is."""

SHARED: dict[str, Series] = {
    "received_packets": counter(
        "voxpop_relay_received_packets_total",
        "Datagrams read: upstream from clients, downstream from transceivers. Each of them ends as one of "
        "voxpop_relay_packets_total.",
        direction=Direction,
    ),
    "received_bytes": counter(
        "voxpop_relay_received_bytes_total",
        "Bytes of UDP payload in voxpop_relay_received_packets_total.",
        direction=Direction,
    ),
    "packets": counter(
        "voxpop_relay_packets_total",
        "Datagrams by outcome: forwarded, refused (see voxpop_relay_refusals_total), or failed in sending "
        "(see voxpop_relay_send_failures_total).",
        without=[_DOWN_REFUSED],
        direction=Direction,
        outcome=("forwarded", "refused", "failed"),
    ),
    "bytes": counter(
        "voxpop_relay_bytes_total",
        "Bytes of UDP payload in voxpop_relay_packets_total.",
        without=[_DOWN_REFUSED],
        direction=Direction,
        outcome=("forwarded", "refused", "failed"),
    ),
    "refusals": counter(
        "voxpop_relay_refusals_total",
        "Datagrams from clients dropped without an answer, by reason: malformed STUN (stun_*), a ufrag that "
        "is no good token (token_*), or one of the relay-side reasons.",
        reason=REFUSALS,
    ),
    "send_failures": counter(
        "voxpop_relay_send_failures_total",
        "Datagrams that were not sent, by error: the kernel did not take them, or (unresolved) they still "
        "waited for the MAC address of a neighbour when the worker ended.",
        without=set(itertools.product(Direction, SendError)) - set(SEND_FAILURES),
        direction=Direction,
        error=SendError,
    ),
    "pending_errors": counter(
        "voxpop_relay_upstream_errors_total",
        "ICMP errors that transceivers' hosts or routers sent about earlier upstream packets, by error. "
        "refused: no process has that port.",
        error=PENDING_ERRORS,
    ),
    "installs": counter(
        "voxpop_relay_flow_installs_total",
        "Proven first packets by what became of their flow: installed, rebound (an existing flow has "
        "another ufrag from here on), or why it could not be had. adopted: no packet, but a flow that the "
        "fast path had when the relay started.",
        outcome=INSTALL_RESULTS,
    ),
    "removals": counter(
        "voxpop_relay_flow_removals_total",
        "Flows that ended: idle (their client was silent), unanswered (their transceiver was, from the "
        "beginning or since), evicted (they made room for another), drained (the time of a drain was over), "
        "moved (the client address leads to another transceiver), or lost with their worker. Installed and "
        "adopted minus removed is voxpop_relay_flows.",
        reason=Removal,
    ),
    "flows": gauge("voxpop_relay_flows", "Flows that are being carried.", worker=WORKER),
    "unconfirmed": gauge(
        "voxpop_relay_unconfirmed_flows",
        "Flows to which nothing has come back from their transceiver yet: in voxpop_relay_flows, and the "
        "first to make room.",
        worker=WORKER,
    ),
    "contested": gauge(
        "voxpop_relay_contested_addresses",
        "Client addresses that two calls have: what comes from there goes to both transceivers.",
        worker=WORKER,
    ),
    "copies": counter(
        "voxpop_relay_contest_copies_total",
        "Second copies of packets from contested addresses, which are not in voxpop_relay_packets_total, by "
        "outcome.",
        outcome=("forwarded", "failed"),
    ),
    "first_packet": histogram(
        "voxpop_relay_first_packet_seconds",
        "From the wake-up that read a flow's first packet to its having been sent on.",
        buckets=[bound / 1e9 for bound in FIRST_PACKET_BUCKETS_NS],
    ),
    "recalls": counter(
        "voxpop_relay_recalls_total",
        "Clients without a flow that were asked for in the store, by what came of it: restored, "
        "already_there (a check was faster), not_found, store_failed, crowded (not asked, as too many were), "
        "a record that was refused (record_*, token_*), or why there could be no flow.",
        outcome=RECALL_OUTCOMES,
    ),
    "recall": histogram(
        "voxpop_relay_recall_seconds",
        "From a client's first packet without a flow to the flow's being restored.",
        buckets=[bound / 1e9 for bound in FIRST_PACKET_BUCKETS_NS],
    ),
    "leases": counter(
        "voxpop_relay_lease_writes_total",
        "Flow records by what became of their being written: written, failed (and still due), or key_gone: "
        "the key of the flow's ufrag is in the keyring no more, so no relay would believe its record.",
        outcome=LEASE_OUTCOMES,
    ),
    "leases_due": gauge(
        "voxpop_relay_leases_due", "Flows that have no current record in the store.", worker=WORKER
    ),
    "store_failures": counter(
        "voxpop_relay_store_failures_total",
        "Calls of the store that failed, by reason, those that were not made (breaker_open) among them.",
        reason=StoreReason,
    ),
    "store_trouble": gauge(
        "voxpop_relay_store_degraded_workers",
        "Workers for which the store is degraded, by reason. Calls go on and are set up all the same.",
        reason=StoreReason,
    ),
}
"""Every series that workers count, by the name that the code has for it. To count something new, declare it
here and write to its `counter_index`. Those with the label `worker` are shown by worker, the others summed.
"""


def _keys(name: str, series: Series) -> Iterator[tuple[str, ...]]:
    """The places of a series in the array: its rows, or the buckets and the sum of a histogram."""
    if series.kind is Kind.HISTOGRAM:
        for bound in series.buckets:
            yield f"{name}_bucket", str(round(bound * 1e9))
        yield f"{name}_bucket", "inf"
        yield (f"{name}_sum_ns",)
    else:
        for row in series.rows:
            yield (name, *row)


_INDEXES = {
    key: CounterIndex(index)
    for index, key in enumerate(key for name, series in SHARED.items() for key in _keys(name, series))
}
ARRAY_BYTES = len(_INDEXES) * 8


def counter_index(name: str, *row: str) -> CounterIndex:
    """The index of a series; KeyError for one that does not exist."""
    return _INDEXES[(name, *row)]


REFUSAL_INDEXES = {reason: counter_index("refusals", reason) for reason in REFUSALS}


class Counters:
    """The array of one worker, mapped from a memfd."""

    def __init__(self, fd: int) -> None:
        self._map = mmap.mmap(fd, ARRAY_BYTES)
        self.values: memoryview = memoryview(self._map).cast("Q")
        """Indexed by `counter_index`; the hot path writes here itself."""

    def add(self, index: CounterIndex, amount: int = 1) -> None:
        """Count something."""
        self.values[index] += amount

    def get(self, name: str, *row: str) -> int:
        """The value of a series."""
        return int(self.values[counter_index(name, *row)])

    def close(self) -> None:
        """Unmap; the numbers stay with whoever else has the memfd."""
        self.values.release()
        self._map.close()


def create() -> tuple[Counters, int]:
    """Fresh counters at 0, and the memfd to hand to the worker (close-on-exec until passed on)."""
    fd = os.memfd_create("voxpop-counters")
    os.ftruncate(fd, ARRAY_BYTES)
    return Counters(fd), fd


def classify_error(error: OSError) -> SendError:
    """The label of what a socket call raised."""
    return _ERROR_BY_ERRNO.get(error.errno or 0, SendError.OTHER)

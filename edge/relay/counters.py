"""Counters in shared memory: one array of u64 per worker, which the supervisor reads.

The worker is the only writer, so an increment needs no lock; an aligned u64 is never read half-written.
The supervisor owns the memory, so what a worker counted outlives it, and its successor counts on.
"""

from __future__ import annotations

import errno
import itertools
import mmap
import os
from enum import StrEnum

from edge.relay.verdict import REFUSALS, RelayReason


class Direction(StrEnum):
    """Which way a packet goes."""

    UPSTREAM = "upstream"
    DOWNSTREAM = "downstream"


class SendError(StrEnum):
    """Why the kernel did not take, or could not deliver, a datagram."""

    WOULD_BLOCK = "would_block"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    TOO_BIG = "too_big"
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

INSTALL_RESULTS: tuple[str, ...] = (
    "installed",
    "adopted",
    "rebound",
    RelayReason.TABLE_FULL,
    RelayReason.TOO_MANY_ADDRESSES,
    RelayReason.NO_DESCRIPTORS,
    RelayReason.NO_NAT_PORT,
    RelayReason.UNREACHABLE,
)


class Removal(StrEnum):
    """Why a flow ended."""

    IDLE = "idle"
    MOVED = "moved"
    LOST = "lost"
    """Its worker died."""


FIRST_PACKET_BUCKETS_NS = tuple(
    int(us * 1000) for us in (50, 100, 200, 500, 1000, 2000, 5000, 10_000, 50_000, 250_000)
)

_UP, _DOWN = Direction.UPSTREAM, Direction.DOWNSTREAM
_ENDS = ((_UP, "forwarded"), (_UP, "refused"), (_UP, "failed"), (_DOWN, "forwarded"), (_DOWN, "failed"))

SERIES: dict[str, tuple[tuple[str, ...], ...]] = {
    "received_packets": ((_UP,), (_DOWN,)),
    "received_bytes": ((_UP,), (_DOWN,)),
    "packets": _ENDS,
    "bytes": _ENDS,
    "refusals": tuple((reason,) for reason in REFUSALS),
    "send_failures": tuple(itertools.product(Direction, SendError)),
    "pending_errors": tuple((error,) for error in SendError if error is not SendError.WOULD_BLOCK),
    "installs": tuple((result,) for result in INSTALL_RESULTS),
    "removals": tuple((cause,) for cause in Removal),
    "flows": ((),),
    "first_packet_bucket": tuple((str(bound),) for bound in (*FIRST_PACKET_BUCKETS_NS, "inf")),
    "first_packet_sum_ns": ((),),
}
"""Every series that there is: family → the label values of its members."""

_INDEXES = {
    key: index
    for index, key in enumerate((family, *labels) for family, rows in SERIES.items() for labels in rows)
}
ARRAY_BYTES = len(_INDEXES) * 8


def counter_index(family: str, *labels: str) -> int:
    """The index of a series; KeyError for one that does not exist."""
    return _INDEXES[(family, *labels)]


REFUSAL_INDEXES = {reason: counter_index("refusals", reason) for reason in REFUSALS}


class Counters:
    """The array of one worker, mapped from a memfd."""

    def __init__(self, fd: int) -> None:
        self._map = mmap.mmap(fd, ARRAY_BYTES)
        self.values: memoryview = memoryview(self._map).cast("Q")
        """Indexed by `counter_index`; the hot path writes here itself."""

    def add(self, index: int, amount: int = 1) -> None:
        """Count something."""
        self.values[index] += amount

    def get(self, family: str, *labels: str) -> int:
        """The value of a series."""
        return int(self.values[counter_index(family, *labels)])

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

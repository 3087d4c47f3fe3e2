"""The slots of one worker in one address family: which are free, which rest, which live.

A slot goes round: free → live → resting → free. First in, first out, so a NAT port comes back as late as
it can, and never before it has rested.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ebpf.bpfmap import Records
from ebpf.clock import JiffiesClock, tick_ns
from ebpf.layout import PORTS, SLOT_LIVE, UPSTREAM

REST_NS = 30_000_000_000
"""How long a NAT port is for nobody, once its flow has ended. A transceiver may send to it for as long as
it believes in the client's consent, 30 s from when it last heard it (RFC 7675 §5.1), and all sessions of a
transceiver process share one address: what it sends late must not reach the client that is next."""


class SeenClock:
    """The stamps of records as monotonic time: both clocks go alike, so only their distance is asked for."""

    def __init__(self, pin_dir: Path) -> None:
        self._jiffies = JiffiesClock(pin_dir)
        self._tick_ns = tick_ns()
        self.adjust()

    def adjust(self) -> None:
        """Ask again; now and then, as one of the clocks may be slewed."""
        self._ahead = self._jiffies.now - time.monotonic_ns() // self._tick_ns

    def stamp(self, now_ns: int) -> int:
        """The stamp of a time."""
        return (now_ns // self._tick_ns + self._ahead) & 0xFFFFFFFF

    def ticks(self, duration_ns: int) -> int:
        """A duration in the unit of stamps."""
        return duration_ns // self._tick_ns

    def idle(self, seen: npt.NDArray[np.uint32], now_ns: int) -> npt.NDArray[np.int32]:
        """How many ticks ago stamps were; they wrap, and may be a little ahead."""
        return (np.uint32(self.stamp(now_ns)) - seen).astype(np.int32)

    def time_of(self, seen: int, now_ns: int) -> int:
        """The time of a stamp."""
        ago = (self.stamp(now_ns) - seen) & 0xFFFFFFFF
        return now_ns - (0 if ago >> 31 else ago * self._tick_ns)

    def close(self) -> None:
        """Close the clock; once."""
        self._jiffies.close()


class NatRange(NamedTuple):
    """NAT ports of one backbone address, both ends included."""

    backbone: int
    """Index of the address."""
    first: int
    last: int


def share_ports(backbones: Sequence[int], first: int, last: int, index: int, workers: int) -> list[NatRange]:
    """What worker `index` of `workers` owns: an equal part of every address. Parts do not overlap."""
    count = last - first + 1
    begin, end = first + count * index // workers, first + count * (index + 1) // workers
    return [NatRange(backbone, begin, end - 1) for backbone in backbones if begin < end]


class Columns:
    """Fields of every record of an address family, over the map itself: taking one out of a record costs
    more than all else that is done with it.
    """

    def __init__(self, records: Records) -> None:
        flow = records["flow"]
        self.state = flow["state"]
        self.heard = flow["seen"][:, UPSTREAM]
        self.nexthops = flow["nexthop"]


class Slots:
    """See above. `records` are those of the map; `taken` says which ports are a VIP's."""

    def __init__(
        self, records: Records, ranges: Sequence[NatRange], taken: frozenset[int], clock: SeenClock
    ) -> None:
        self.records = records
        self._clock = clock
        parts = [np.arange(r.first, r.last + 1, dtype=np.uint32) + r.backbone * PORTS for r in ranges]
        numbers = np.sort(np.concatenate(parts)) if parts else np.empty(0, np.uint32)
        self.numbers: npt.NDArray[np.uint32] = numbers[~np.isin(numbers, np.array([*taken], np.uint32))]
        """Slot by position, ascending."""
        self._columns = Columns(records)
        size = len(self.numbers)
        self.marks = np.zeros(size, np.uint32)
        """Of the ufrags that flows go by, by position; 0 where it is not known."""
        self.is_live = np.zeros(size, bool)
        self.addresses: Counter[int] = Counter()
        """Flows by mark."""
        self._rested_at = np.zeros(size, np.int64)
        self._ring = np.empty(size, np.uint32)
        self._head = self._waiting = 0
        self.live = 0

    def adopt(self, marks: npt.NDArray[np.uint32], now_ns: int) -> None:
        """Begin with what the map holds; `marks` of the ufrags that flows go by are by slot."""
        flow = self.records["flow"][self.numbers]
        self.is_live[:] = flow["state"] == SLOT_LIVE
        self.live = int(self.is_live.sum())
        self.marks[self.is_live] = marks[self.numbers[self.is_live]]
        self.addresses.update(self.marks[self.is_live & (self.marks != 0)].tolist())
        rest = self._clock.ticks(REST_NS)
        resting = ~self.is_live & (self._clock.idle(flow["seen"], now_ns).min(axis=1) < rest)
        resting &= flow["seen"].any(axis=1)
        free = np.flatnonzero(~self.is_live & ~resting)
        rests = np.flatnonzero(resting)
        self._rested_at[rests] = now_ns + REST_NS
        self._waiting = len(free) + len(rests)
        self._ring[: self._waiting] = np.concatenate([free, rests])

    def position_of(self, slot: int) -> int | None:
        """The position of a slot; None for one of another worker."""
        position = int(self.numbers.searchsorted(slot))
        if position < len(self.numbers) and self.numbers[position] == slot:
            return position
        return None

    def take(self, mark: int, now_ns: int) -> int | None:
        """A slot that has rested, to be written to; None where there is none."""
        if not self._waiting:
            return None
        position = int(self._ring[self._head])
        if self._rested_at[position] > now_ns:
            return None
        self._head = (self._head + 1) % len(self._ring)
        self._waiting -= 1
        self.is_live[position] = True
        self.live += 1
        self.mark(position, mark)
        return int(self.numbers[position])

    def mark(self, position: int, mark: int) -> None:
        """Note the ufrag that a flow goes by."""
        old = int(self.marks[position])
        if old:
            self.addresses[old] -= 1
            if not self.addresses[old]:
                del self.addresses[old]
        self.marks[position] = mark
        if mark:
            self.addresses[mark] += 1

    def release(self, position: int, rested_at_ns: int) -> None:
        """Take back a slot that has been switched off."""
        self.mark(position, 0)
        self.is_live[position] = False
        self.live -= 1
        self._rested_at[position] = rested_at_ns
        self._ring[(self._head + self._waiting) % len(self._ring)] = position
        self._waiting += 1

    def ended(self, begin: int, end: int, now_ns: int, timeout_ns: int) -> npt.NDArray[np.intp]:
        """Positions from `begin` up to `end` of flows that are idle, or that someone switched off."""
        part = slice(begin, end)
        where = self._where(begin, end)
        idle = self._clock.idle(self._columns.heard[where], now_ns) > self._clock.ticks(timeout_ns)
        return begin + np.flatnonzero(self.is_live[part] & (idle | (self._columns.state[where] != SLOT_LIVE)))

    def _where(self, begin: int, end: int) -> slice | npt.NDArray[np.uint32]:
        """The slots from position `begin` up to `end`, as a slice if they have no gap: it copies nothing."""
        if begin < end and int(self.numbers[end - 1]) - int(self.numbers[begin]) == end - 1 - begin:
            return slice(int(self.numbers[begin]), int(self.numbers[begin]) + end - begin)
        return self.numbers[begin:end]

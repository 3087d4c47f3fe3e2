"""The slots of one worker in one address family: which are free, which rest, which live.

A slot goes round: free → live → resting → free. A client gets one in its group if it can, as those are found
soonest (docs/decisions/0101), else any. Of either, the one that has rested longest: a NAT port comes back
as late as it can, and never before it has rested.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ebpf.clock import SeenClock
from ebpf.ids import BackboneIndex, NatSlot
from ebpf.kernel.bpfmap import Records
from ebpf.layout import DOWNSTREAM, GROUP_SLOTS, PORTS, SLOT_LIVE, SLOT_OFF, UPSTREAM
from edge.forwarders.sweep import Patience

REST_NS = 30_000_000_000
"""How long a NAT port is for nobody, once its flow has ended. A transceiver may send to it for as long as
it believes in the client's consent, 30 s from when it last heard it (RFC 7675 §5.1), and all sessions of a
transceiver process share one address: what it sends late must not reach the client that is next."""

NEVER = np.iinfo(np.int64).max
DirectionRecords = Sequence[Records]
"""The directions of flows, upstream first, by slot; as `ebpf.tables` has them."""


class NatRange(NamedTuple):
    """NAT ports of one backbone address, both ends included."""

    backbone: BackboneIndex
    first: int
    last: int
    step: int = 1


def share_ports(
    backbones: Sequence[BackboneIndex], first: int, last: int, index: int, workers: int
) -> list[NatRange]:
    """What worker `index` of `workers` owns: every `workers`-th port of every address, so that each of them
    has a part of every client's group.
    """
    return [NatRange(backbone, first + index, last, workers) for backbone in backbones]


class FreeQueue:
    """Positions below `size` that wait, in the order in which they came; any may leave at any time.

    A ring of neighbours' numbers, with `size` itself between the last and the first.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._next = np.full(size + 1, size, np.uint32)
        self._previous = np.full(size + 1, size, np.uint32)

    @property
    def first(self) -> int:
        """Who has waited longest; `size` if nobody waits."""
        return int(self._next[self._size])

    def fill(self, positions: npt.NDArray[np.intp]) -> None:
        """Let all of these wait, and nobody else."""
        ring = np.concatenate([[self._size], positions, [self._size]])
        self._next[ring[:-1]] = ring[1:]
        self._previous[ring[1:]] = ring[:-1]

    def join(self, position: int) -> None:
        """Wait, behind all others."""
        last = int(self._previous[self._size])
        self._next[last] = self._previous[self._size] = position
        self._next[position], self._previous[position] = self._size, last

    def leave(self, position: int) -> None:
        """Wait no longer."""
        before, behind = int(self._previous[position]), int(self._next[position])
        self._next[before], self._previous[behind] = behind, before


class Columns:
    """Fields of every record of an address family, over the map itself: taking one out of a record costs
    more than all else that is done with it.
    """

    def __init__(self, records: DirectionRecords) -> None:
        self.state = records[UPSTREAM]["common"]["state"]
        self.transceiver = records[UPSTREAM]["common"]["transceiver"]
        self.seen = tuple(record["common"]["seen"] for record in records)
        self.heard, self.answered = self.seen
        """When the client was heard, and the transceiver; of the latter, until then, when the flow began."""
        self.carried_down = records[DOWNSTREAM]["common"]["packets"]


class Slots:
    """See above. `records` are the maps' own; `taken` says which ports are a VIP's."""

    def __init__(
        self,
        records: DirectionRecords,
        ranges: Sequence[NatRange],
        taken: frozenset[NatSlot],
        clock: SeenClock,
    ) -> None:
        self._clock = clock
        parts = [np.arange(r.first, r.last + 1, r.step, dtype=np.uint32) + r.backbone * PORTS for r in ranges]
        numbers = np.sort(np.concatenate(parts)) if parts else np.empty(0, np.uint32)
        self.numbers: npt.NDArray[np.uint32] = numbers[~np.isin(numbers, np.array([*taken], np.uint32))]
        """Slot by position, ascending."""
        self._step = ranges[0].step if ranges else 1
        self._columns = Columns(records)
        size = len(self.numbers)
        self._positions = np.full(max(len(records[UPSTREAM]), PORTS), size, np.uint32)
        """Position by slot; `size` for what is another worker's."""
        self._positions[self.numbers] = np.arange(size)
        self.marks = np.zeros(size, np.uint32)
        """Of the flows' ufrags, by position; 0 where it is not known."""
        self.is_live = np.zeros(size, bool)
        self.addresses: Counter[int] = Counter()
        """Flows by mark."""
        self._rested_at = np.zeros(size + 1, np.int64)
        """When a slot may be taken, by position; NEVER while it lives."""
        self._rested_at[size] = NEVER
        self._free = FreeQueue(size)
        self.live = 0

    def of_mark(self, mark: int) -> npt.NDArray[np.intp]:
        """The positions of the flows of a ufrag."""
        return np.flatnonzero(self.marks == mark)

    def adopt(self, marks: npt.NDArray[np.uint32], now_ns: int) -> None:
        """Begin with what the map holds; `marks`, of the flows' ufrags, are by slot."""
        self.is_live[:] = self._columns.state[self.numbers] == SLOT_LIVE
        self.live = int(self.is_live.sum())
        self.marks[self.is_live] = marks[self.numbers[self.is_live]]
        self.addresses.update(self.marks[self.is_live & (self.marks != 0)].tolist())
        rest = self._clock.units(REST_NS)
        seen = np.stack([each[self.numbers] for each in self._columns.seen])
        resting = ~self.is_live & (self._clock.idle(seen, now_ns).min(axis=0) < rest) & seen.any(axis=0)
        self._rested_at[:-1][self.is_live] = NEVER
        self._rested_at[:-1][resting] = now_ns + REST_NS
        self._free.fill(np.concatenate([np.flatnonzero(~self.is_live & ~resting), np.flatnonzero(resting)]))

    def slot_at(self, position: int) -> NatSlot:
        """The slot at a position."""
        return NatSlot(int(self.numbers[position]))

    def position_of(self, slot: NatSlot) -> int | None:
        """The position of a slot; None for one of another worker."""
        position = int(self._positions[slot])
        return None if position == len(self.numbers) else position

    def take(self, groups: Iterable[NatSlot], mark: int, now_ns: int) -> NatSlot | None:
        """A slot that has rested, to be written to, at the first of these groups that has one, or anywhere;
        None where there is none at all.
        """
        for group in groups:
            in_group = self._positions[group : group + GROUP_SLOTS]
            best = int(in_group[self._rested_at[in_group].argmin()])
            if self._rested_at[best] <= now_ns:
                position = best
                break
        else:
            position = self._free.first
        if self._rested_at[position] > now_ns:
            return None
        self._free.leave(position)
        self._rested_at[position] = NEVER
        self.is_live[position] = True
        self.live += 1
        self.mark(position, mark)
        return self.slot_at(position)

    def mark(self, position: int, mark: int) -> None:
        """Note the ufrag of a flow."""
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
        self._free.join(position)

    def ended(self, begin: int, end: int, now_ns: int, patience: Patience) -> npt.NDArray[np.intp]:
        """Positions from `begin` up to `end`, ascending, of flows that are idle or unanswered, or were
        switched off.
        """
        part = slice(begin, end)
        where, clock, columns = self._where(begin, end), self._clock, self._columns
        is_over = clock.idle(columns.heard[where], now_ns) > clock.units(patience.client_ns)
        is_over |= clock.idle(columns.answered[where], now_ns) > clock.units(patience.transceiver_ns)
        return begin + np.flatnonzero(self.is_live[part] & (is_over | (columns.state[where] == SLOT_OFF)))

    def _where(self, begin: int, end: int) -> slice | npt.NDArray[np.uint32]:
        """The slots from position `begin` up to `end`, as a slice if they have no gap: it copies nothing."""
        if begin < end:
            first, last = int(self.numbers[begin]), int(self.numbers[end - 1])
            if last - first == (end - 1 - begin) * self._step:
                return slice(first, last + 1, self._step)
        return self.numbers[begin:end]

"""What each process of a host has for whom, in memory that all of them share.

A row for each process, which alone writes it; whoever wants to know a key's total adds up its column. Numbers
are of 64 bits, aligned, and written at once, so there is nothing to lock and nobody to wait for. A process
that dies leaves its row to the supervisor, which clears it, and to its successor.
"""

from __future__ import annotations

import mmap
import os
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from enum import IntEnum
from typing import Final

SLOTS: Final = 512
"""Names that are told apart: twice as many as there may be keys, so that one is not used again at once."""
_NUMBER_BYTES: Final = 8


class Kind(IntEnum):
    """What is counted of a key."""

    TAKEN = 0
    """Requests that were let in, ever; the others go up and down."""
    ASKING = 1
    """Calls that are being asked for."""
    PENDING = 2
    """Calls whose client has not arrived."""
    LIVE = 3
    SIDEBANDS = 4


class Ledger:
    """The table, as the process with number `row` has it; of the supervisor, which has none, any number."""

    def __init__(self, memory: bytearray | mmap.mmap, row: int) -> None:
        self._numbers = memoryview(memory).cast("Q")
        self._width = SLOTS * len(Kind)
        self._row = row

    def put(self, slot: int, kind: Kind, value: int) -> None:
        """Say how many there are here."""
        self._numbers[self._at(self._row, slot, kind)] = value

    def own(self, slot: int, kind: Kind) -> int:
        """What was said last, by this process or the one before it."""
        return self._numbers[self._at(self._row, slot, kind)]

    def total(self, slot: int, kind: Kind) -> int:
        """How many there are on the host."""
        return sum(self._numbers[self._at(0, slot, kind) :: self._width])

    def clear(self, row: int) -> None:
        """A process has died with all that it had. What it has let in stays counted."""
        for slot in range(SLOTS):
            for kind in (Kind.ASKING, Kind.PENDING, Kind.LIVE, Kind.SIDEBANDS):
                self._numbers[self._at(row, slot, kind)] = 0

    def _at(self, row: int, slot: int, kind: Kind) -> int:
        return row * self._width + slot * len(Kind) + kind


def ledger_bytes(rows: int) -> int:
    """What the table takes for so many processes."""
    return rows * SLOTS * len(Kind) * _NUMBER_BYTES


def open_memory(rows: int) -> int:
    """Memory for it, all zero, as a descriptor that workers can inherit. May raise OSError."""
    opened = os.memfd_create("voxpop-quotas")
    try:
        os.ftruncate(opened, ledger_bytes(rows))
    except OSError:
        os.close(opened)
        raise
    return opened


def map_ledger(descriptor: int, rows: int, row: int) -> Ledger:
    """The table in such memory. The descriptor may be closed afterwards."""
    return Ledger(mmap.mmap(descriptor, ledger_bytes(rows)), row)


class SlotBook:
    """Which name has which slot: for as long as there are slots it keeps the one that it had."""

    def __init__(self) -> None:
        self._slots: OrderedDict[str, int] = OrderedDict()
        """Those that were named last stand last."""

    def assign(self, names: Iterable[str]) -> Sequence[int]:
        """A slot for each, in their order; there may be no more than `SLOTS`."""
        wanted = list(names)
        for name in wanted:
            if name in self._slots:
                self._slots.move_to_end(name)
        for name in wanted:
            if name not in self._slots:
                full = len(self._slots) >= SLOTS
                self._slots[name] = self._slots.popitem(last=False)[1] if full else len(self._slots)
        return [self._slots[name] for name in wanted]

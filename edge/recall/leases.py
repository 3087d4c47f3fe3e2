"""Which flows' records are to be written, and when. No I/O.

A record lives for a lease and is written anew when a third of that is left; also when a flow begins,
gets another ufrag, or leads elsewhere. When it is due stands in one column by the flow's place, which is
the truth: what could not be written stays due, and what waits needs no queue that could be full. Beside
it, a short one of places that have changed, so that these need not wait for the column to be gone through.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

NEVER = np.iinfo(np.int64).max
LOOKED_AT_ONCE = 8192
"""Places of the column; at 50 rounds a second, a million are gone through in 2.5 s."""
MAX_CHANGED = 4096


class Leases:
    """Of the flows of one worker, by place."""

    def __init__(self, lease_ns: int) -> None:
        self._renew_ns = lease_ns * 2 // 3
        self._due_ns: npt.NDArray[np.int64] = np.full(0, NEVER, np.int64)
        self._changed: deque[int] = deque()
        self._next = 0

    @property
    def due(self) -> int:
        """How many have never been written, or have to be again at once."""
        return int(np.count_nonzero(self._due_ns == 0))

    def change(self, place: int) -> None:
        """The flow at a place is new or another."""
        self._grow(place + 1)
        self._due_ns[place] = 0
        if len(self._changed) < MAX_CHANGED:
            self._changed.append(place)

    def put_off(self, place: int, due_ns: int) -> None:
        """The flow at a place has a record that is good until then, and no longer for sure."""
        self._grow(place + 1)
        self._due_ns[place] = due_ns

    def change_all(self, places: Sequence[int]) -> None:
        """No record is there any more, or it is not known which are."""
        if places:
            self._grow(max(places) + 1)
            self._due_ns[places] = 0

    def take(self, now_ns: int, limit: int) -> list[int]:
        """Places whose flows' records are to be written now, those that changed first; each is to be given to
        `settle`, or stays due.
        """
        taken = dict[int, None]()
        while self._changed and len(taken) < limit:
            place = self._changed.popleft()
            if self._due_ns[place] <= now_ns:
                taken[place] = None
        begin = self._next if self._next < len(self._due_ns) else 0
        end = begin + LOOKED_AT_ONCE
        found = begin + np.flatnonzero(self._due_ns[begin:end] <= now_ns)
        room = limit - len(taken)
        self._next = end if len(found) <= room else int(found[room])
        taken.update(dict.fromkeys(found[:room].tolist()))
        return list(taken)

    def settle(self, place: int, now_ns: int, *, is_live: bool) -> None:
        """The record of a place was written, or there is no flow any more."""
        self._due_ns[place] = now_ns + self._renew_ns if is_live else NEVER

    def _grow(self, size: int) -> None:
        have = len(self._due_ns)
        if size > have:
            more = np.full(max(size - have, have, 1024), NEVER, np.int64)
            self._due_ns = np.concatenate([self._due_ns, more])

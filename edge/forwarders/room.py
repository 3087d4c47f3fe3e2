"""Who makes room for a flow, and who gets none: the shares of docs/flows.md. No I/O, no clock.

Confirmed flows are never given away to a stranger: only to another flow of the same ufrag, and then the one
whose transceiver says least. Who may count on what is bounded by tables that do not grow.
"""

from __future__ import annotations

import secrets
from array import array
from collections.abc import Callable, Iterable, Sequence

from edge.forwarders.newcomers import Newcomer, Newcomers, Owner, Source
from edge.relay.forwarder import MAX_ADDRESSES_PER_TOKEN
from edge.relay.verdict import RelayReason

QUIET_NS = 1_000_000_000
"""Of 16 flows of one ufrag, that is a call's whose transceiver is silent for less; others may be replays'."""
MOST_PER_SOURCE = 256
"""Unconfirmed flows of a source. An answer takes less than a tenth of a second: thousands of callers behind
one address have so many only where all of them come within the same one. As many flows, of whatever kind,
everybody may have.
"""
LEAST_PER_SOURCE = 64
CELLS_LOG2 = 14
ROWS = 2
_U64 = (1 << 64) - 1


class SourceCounts:
    """How many flows each source has, or a little more: a count-min sketch (Cormode, Muthukrishnan 2005) of
    fixed size, whose hashes nobody outside can aim at.
    """

    def __init__(self) -> None:
        self._rows = [(secrets.randbits(64) | 1, array("I", bytes(4 << CELLS_LOG2))) for _ in range(ROWS)]

    def change(self, source: Source, by: int) -> None:
        """A source has more flows, or fewer."""
        for multiplier, cells in self._rows:
            cells[_cell(source, multiplier)] += by

    def at_most(self, source: Source) -> int:
        """Never fewer than there are."""
        return min([cells[_cell(source, multiplier)] for multiplier, cells in self._rows])


def _cell(source: Source, multiplier: int) -> int:
    folded = source ^ source >> 64
    return ((folded ^ folded >> 32) * multiplier & _U64) >> (64 - CELLS_LOG2)


class Room:
    """The shares of a worker's table."""

    def __init__(self, max_flows: int, is_confirmed: Callable[[int], bool]) -> None:
        """`is_confirmed` says of a place whether its transceiver has said anything."""
        self.max_flows = max_flows
        self.newcomers = Newcomers(is_confirmed)
        self._sources = SourceCounts()
        self._most_fresh = max(max_flows // 4, LEAST_PER_SOURCE)
        self._most_of_source = min(MOST_PER_SOURCE, max(max_flows // 8, LEAST_PER_SOURCE))

    def refusal(
        self, source: Source, owner: Owner, flows: int, of_owner: Sequence[tuple[int, int]]
    ) -> RelayReason | None:
        """Why there is no room for one more flow, whoever goes; None: there is some. `flows` are there in
        all, `of_owner` those of the same ufrag: place, and for how long its transceiver is silent.
        """
        if len(of_owner) >= MAX_ADDRESSES_PER_TOKEN and self._of_owner(owner, of_owner) is None:
            return RelayReason.TOO_MANY_ADDRESSES
        if self._is_share_used(source, flows) and self.newcomers.oldest_of_source(source) is None:
            return RelayReason.SOURCE_SHARE
        if flows >= self.max_flows and self._for_table(owner, of_owner) is None:
            return RelayReason.TABLE_FULL
        return None

    def next_to_go(
        self, source: Source, owner: Owner, flows: int, of_owner: Sequence[tuple[int, int]]
    ) -> int | None:
        """The place of a flow that is to end before the new one begins, then to be asked again; None: there
        is room. As for `refusal`, which is to be asked first.
        """
        newcomers = self.newcomers
        if len(of_owner) >= MAX_ADDRESSES_PER_TOKEN:
            return self._of_owner(owner, of_owner)
        if newcomers.of_source(source) >= self._most_of_source or self._is_share_used(source, flows):
            place = newcomers.oldest_of_source(source)
            if place is not None:
                return place
        if newcomers.fresh >= self._most_fresh:
            place = newcomers.oldest_fresh()
            if place is not None:
                return place
        return newcomers.oldest() if flows >= self.max_flows else None

    def begin(self, place: int, newcomer: Newcomer) -> None:
        """A flow begins at a place."""
        self.newcomers.add(place, newcomer)
        self._sources.change(newcomer.source, 1)

    def end(self, place: int, source: Source) -> None:
        """The flow of a source ends at a place."""
        self.newcomers.discard(place)
        self._sources.change(source, -1)

    def adopt(self, sources: Iterable[tuple[Source, int]]) -> None:
        """Flows that were there before, of each source so many."""
        for source, flows in sources:
            self._sources.change(source, flows)

    def _of_owner(self, owner: Owner, of_owner: Sequence[tuple[int, int]]) -> int | None:
        place = self.newcomers.oldest_of_owner(owner)
        if place is not None or not of_owner:
            return place
        place, silent_ns = max(of_owner, key=lambda each: each[1])
        return place if silent_ns >= QUIET_NS else None

    def _for_table(self, owner: Owner, of_owner: Sequence[tuple[int, int]]) -> int | None:
        if len(of_owner) >= MAX_ADDRESSES_PER_TOKEN:
            return self._of_owner(owner, of_owner)
        return self.newcomers.oldest()

    def _is_share_used(self, source: Source, flows: int) -> bool:
        """Whether the table is nearly full, and half of it one source's."""
        if flows < self.max_flows - self.max_flows // 4:
            return False
        return self._sources.at_most(source) >= max(self.max_flows // 2, MOST_PER_SOURCE)

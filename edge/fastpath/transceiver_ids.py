"""The numbers by which upstream records name transceivers, as far as they are one worker's to give.

A transceiver has a number for each next hop that its flows go by, as the next hop is written once for all
flows of a number: one where its route has one leg, one for each leg that its flows are spread over. Where
that leg is down the number lends itself to another, and has its own again afterwards.

A number goes round: free → held → free. What it stands for is written while it is free, and stays as long
as a live record may have it. Nobody counts records by number: the records themselves are asked now and
then which are in use, so a worker that dies leaves nothing wrong behind.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import ItemsView
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from core.addr import Endpoint, IpFamily, pack_address
from ebpf.ids import NOWHERE, NextHopId, TransceiverId
from ebpf.layout import SLOT_LIVE, TRANSCEIVERS, UPSTREAM
from ebpf.tables import REST_S, Tables

logger = logging.getLogger(__name__)

REST_NS = round(REST_S * 1e9)
RECLAIM_NS = 10_000_000_000
"""Between two looks at all records. Not only when numbers run out: next hops are given up when no number
refers to them, and are fewer.
"""

Key: TypeAlias = bytes
"""Address and port, in network order."""


class Transceivers:
    """The numbers of worker `index` of `workers` in an address family; begins with what the maps hold."""

    def __init__(self, tables: Tables, family: IpFamily, share: tuple[int, int], now_ns: int) -> None:
        index, workers = share
        self._tables = tables
        self._family = family
        self._rows = tables.transceivers[family]
        self._nexthops = self._rows["common"]["nexthop"]
        self._numbers: dict[Key, dict[NextHopId, TransceiverId]] = {}
        """By whom they stand for and by the next hop that is a number's own."""
        self._held: dict[TransceiverId, Key] = {}
        self._own: dict[TransceiverId, NextHopId] = {}
        self._reclaimed_ns = now_ns
        own = np.arange(1 + index, TRANSCEIVERS, workers)
        is_held, is_fresh = self._in_use()[own], self._rows["common"]["port"][own] == 0
        for number in own[is_held].tolist():
            self._hold(number, self.key_of(number), NextHopId(int(self._nexthops[number])))
        left = own[~is_held & ~is_fresh]
        self._nexthops[left] = NOWHERE
        self._fresh = own[~is_held & is_fresh].astype(np.uint16)
        """Which never stood for anybody; those before `_taken` do by now."""
        self._taken = 0
        self._resting: deque[tuple[int, TransceiverId]] = deque(
            (now_ns + REST_NS, TransceiverId(int(n))) for n in left
        )
        """(when it has rested, number), in this order."""

    def held(self) -> ItemsView[TransceiverId, Key]:
        """Number → whom it stands for; the address is all but the last two bytes."""
        return self._held.items()

    def is_held(self, number: TransceiverId, address: bytes) -> bool:
        """Whether a number still stands for a transceiver at that address."""
        return self._held.get(number, b"")[:-2] == address

    def own_nexthop(self, number: TransceiverId) -> NextHopId:
        """The next hop that a held number is for."""
        return self._own[number]

    def find(self, transceiver: Endpoint, nexthop: NextHopId) -> TransceiverId | None:
        """The number that it has for a next hop, NOWHERE for any; or one that leads nowhere yet, which is for
        that next hop from now on.
        """
        key = _key(transceiver)
        numbers = self._numbers.get(key, {})
        if nexthop == NOWHERE:
            return next(iter(numbers.values()), None)
        number = self.find_key(key, nexthop)
        if number is None and (idle := numbers.get(NOWHERE)) is not None and not self._nexthops[idle]:
            self.make_own(idle, nexthop)
            return idle
        return number

    def find_key(self, key: Key, nexthop: NextHopId) -> TransceiverId | None:
        """The number of a transceiver, by address and port, that is for a next hop."""
        return self._numbers.get(key, {}).get(nexthop)

    def make_own(self, number: TransceiverId, nexthop: NextHopId) -> None:
        """Let a held number be for a next hop, unless its transceiver has one for that."""
        numbers = self._numbers.setdefault(self._held[number], {})
        if nexthop not in numbers:
            if numbers.get(self._own[number]) == number:
                del numbers[self._own[number]]
            numbers[nexthop] = number
            self._own[number] = nexthop

    def take(self, transceiver: Endpoint, nexthop: NextHopId, now_ns: int) -> TransceiverId | None:
        """A number for one that has none for that next hop; None if live flows have as many as there are."""
        self.reclaim_if_due(now_ns)
        number = self._free_one(now_ns)
        if number is not None:
            self._tables.set_transceiver(number, transceiver, nexthop)
            self._hold(number, _key(transceiver), nexthop)
        return number

    def reclaim_if_due(self, now_ns: int) -> None:
        """Reclaim, if that was not done for RECLAIM_NS; so that no take() at that time does it."""
        if now_ns - self._reclaimed_ns >= RECLAIM_NS:
            self.reclaim(now_ns)

    def reclaim(self, now_ns: int) -> None:
        """Take back what no live record has; a packet under way may still, so it rests."""
        self._reclaimed_ns = now_ns
        in_use = self._in_use()
        for number, key in [each for each in self._held.items() if not in_use[each[0]]]:
            self._let_go(number, key)
            self._nexthops[number] = NOWHERE
            self._resting.append((now_ns + REST_NS, number))
        if not self._resting and self._taken == len(self._fresh):
            logger.error(
                "IPv%d flows of this worker lead to transceivers by %d numbers: no room for another",
                self._family,
                len(self._held),
            )

    def _free_one(self, now_ns: int) -> TransceiverId | None:
        if self._taken < len(self._fresh):
            self._taken += 1
            return TransceiverId(int(self._fresh[self._taken - 1]))
        if self._resting and self._resting[0][0] <= now_ns:
            return self._resting.popleft()[1]
        return None

    def _hold(self, number: TransceiverId, key: Key, nexthop: NextHopId) -> None:
        self._held[number] = key
        self._own[number] = nexthop
        self._numbers.setdefault(key, {}).setdefault(nexthop, number)

    def _let_go(self, number: TransceiverId, key: Key) -> None:
        numbers, nexthop = self._numbers.get(key, {}), self._own.pop(number)
        del self._held[number]
        if numbers.get(nexthop) == number:
            del numbers[nexthop]
        if not numbers:
            self._numbers.pop(key, None)

    def key_of(self, number: TransceiverId) -> Key:
        """Whom a number stands for, whichever worker's it is."""
        row = self._rows[number]
        key: Key = row["addr"].tobytes() + row["common"]["port"].tobytes()
        return key

    def _in_use(self) -> npt.NDArray[np.bool_]:
        """By number, whether a live record has it, whichever worker's."""
        record = self._tables.records[self._family][UPSTREAM]["common"]
        found = np.zeros(TRANSCEIVERS, bool)
        found[record["transceiver"][record["state"] == SLOT_LIVE]] = True
        return found


def _key(transceiver: Endpoint) -> Key:
    return pack_address(transceiver.host) + transceiver.port.to_bytes(2, "big")

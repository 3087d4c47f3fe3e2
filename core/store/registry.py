"""The heartbeats of all hosts: one's own written, everybody's read. What is read is bytes, not yet believed.

There is a key for each host, which expires, and a list of their names beside, so that nobody has to SCAN.
The list keeps the names that were written last; a name whose key has expired costs its readers one answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from core.store.base import MAX_BATCH, Announcement, Entry, Place
from core.store.guarded import GuardedStore
from core.store.heartbeat import MAX_NAME_BYTES, TTL_S
from core.store.keys import POPS, HostKind

MAX_HOSTS: Final = MAX_BATCH
"""Of one kind, in one store."""

MAX_LATITUDE: Final = 85.05
"""Of a GEO set, which is flat: there are no poles on it."""


class Beat(NamedTuple):
    """What is to be written."""

    name: bytes
    """Of the host."""
    value: bytes
    at_s: float
    """Unix time."""
    place: Place | None = None
    """Of its PoP, by its id, where that is known."""


class Registry:
    """See above. Every call raises StoreError alone."""

    def __init__(self, store: GuardedStore) -> None:
        self.store = store

    async def write(self, kind: HostKind, beat: Beat) -> bytes:
        """A host lives. Returns what was last written under its name, empty when that was too long ago."""
        entry = Entry(kind.heartbeat_key(beat.name), beat.value, int(TTL_S * 1000))
        place = beat.place
        if place is not None:
            place = place._replace(latitude=min(max(place.latitude, -MAX_LATITUDE), MAX_LATITUDE))
        return await self.store.announce(
            Announcement(entry, kind.list_key, beat.name, beat.at_s, MAX_HOSTS, POPS, place)
        )

    async def read(self, kind: HostKind, known: Sequence[bytes] = ()) -> list[tuple[bytes, bytes]]:
        """(name, value) of all hosts that there are. Those that are `known` need not be on the list, which
        a host with a wrong clock, or who else can write there, may push them from.
        """
        listed = await self.store.listed(kind.list_key, MAX_HOSTS)
        names = list(dict.fromkeys((*known, *listed)))[:MAX_HOSTS]
        keys = [kind.heartbeat_key(name) for name in names if len(name) <= MAX_NAME_BYTES]
        values = iter(await self.store.get_many(keys))
        found = [(name, next(values) if len(name) <= MAX_NAME_BYTES else b"") for name in names]
        return [(name, value) for name, value in found if value or len(name) > MAX_NAME_BYTES]

    async def nearest(self, latitude: float, longitude: float) -> list[Place]:
        """PoPs, the nearest to a place first, whether they live or not."""
        return await self.store.places(POPS, longitude, latitude, MAX_HOSTS)

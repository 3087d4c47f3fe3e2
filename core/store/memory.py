"""A store in the memory of one process: for one host alone, and for who wants no server."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from core.geo import Position, distance_km
from core.store.base import READ_BYTES, Announcement, Entry, Place, StoreError, StoreReason

NEVER_NS = 1 << 63


class MemoryStore:
    """See `core.store.base.Store`. Values expire by the clock that it is given, and are found out when they
    are asked for, or when there is no room.
    """

    def __init__(self, max_keys: int, monotonic_ns: Callable[[], int]) -> None:
        self._max_keys = max_keys
        self._monotonic_ns = monotonic_ns
        self._values: dict[bytes, tuple[bytes, int]] = {}
        self._places: dict[bytes, dict[bytes, Place]] = {}
        self._lists: dict[bytes, dict[bytes, float]] = {}

    def __len__(self) -> int:
        """Keys that take room."""
        return len(self._values) + sum(map(len, self._places.values())) + sum(map(len, self._lists.values()))

    async def get_many(self, keys: Sequence[bytes]) -> list[bytes]:
        """See Store."""
        return [self._get(key)[:READ_BYTES] for key in keys]

    def _get(self, key: bytes) -> bytes:
        value, until_ns = self._values.get(key, (b"", 0))
        return value if self._monotonic_ns() < until_ns else b""

    async def set_many(self, entries: Sequence[Entry]) -> None:
        """See Store. FULL where there is no room for another key."""
        refused = 0
        now_ns = self._monotonic_ns()
        for key, value, ttl_ms in entries:
            if key in self._values or self._has_room(now_ns):
                self._values[key] = value, now_ns + ttl_ms * 1_000_000
            else:
                refused += 1
        if refused:
            raise StoreError(StoreReason.FULL, f"{self._max_keys} keys are all that the memory store holds")

    def _has_room(self, now_ns: int) -> bool:
        if len(self) < self._max_keys:
            return True
        self._values = {key: held for key, held in self._values.items() if now_ns < held[1]}
        return len(self) < self._max_keys

    async def agree(self, key: bytes, proposal: bytes) -> bytes:
        """See Store."""
        if not self._get(key):
            self._make_room(False)
            self._values[key] = proposal, NEVER_NS
        return self._get(key)[:READ_BYTES]

    async def announce(self, announcement: Announcement) -> bytes:
        """See Store."""
        entry, list_key, name, score, keep, places_key, place = announcement
        before = self._get(entry.key)[:READ_BYTES]
        await self.set_many([entry])
        names = self._lists.setdefault(list_key, {})
        self._make_room(name in names)
        names[name] = score
        for last in _by_score(names)[keep:]:
            del names[last]
        if place is not None:
            members = self._places.setdefault(places_key, {})
            self._make_room(place.member in members)
            members[place.member] = place
        return before

    def _make_room(self, is_there: bool) -> None:
        if not is_there and not self._has_room(self._monotonic_ns()):
            raise StoreError(StoreReason.FULL, "no room")

    async def listed(self, key: bytes, limit: int) -> list[bytes]:
        """See Store."""
        return _by_score(self._lists.get(key, {}))[:limit]

    async def places(self, key: bytes, longitude: float, latitude: float, limit: int) -> list[Place]:
        """See Store."""
        found, here = self._places.get(key, {}).values(), Position(latitude, longitude)
        return sorted(found, key=lambda place: distance_km(here, place.position))[:limit]

    async def close(self) -> None:
        """See Store."""


def _by_score(members: Mapping[bytes, float]) -> list[bytes]:
    """The highest first; of equals, the last by name, as Redis has it."""
    return sorted(members, key=lambda member: (members[member], member), reverse=True)

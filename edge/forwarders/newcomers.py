"""The flows of a worker to which nothing has come back from their transceivers yet. No I/O, no clock.

They are few and short-lived, so they are kept beside the table: oldest first, and by whom they are of.
A place is that of the forwarder's table.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from core.addr import IpFamily

Source: TypeAlias = int
"""See `source_of`."""
Owner: TypeAlias = Hashable
"""What tells a flow's ufrag from others: itself, or a mark of it."""
Places: TypeAlias = dict[int, None]
K = TypeVar("K", bound=Hashable)

_IPV6 = 1 << 64


def source_of(packed: bytes) -> Source:
    """Whom an address is of, by its four or sixteen bytes: an IPv4 address, or an IPv6 /64."""
    if len(packed) == 4:
        return int.from_bytes(packed, "big")
    return _IPV6 | int.from_bytes(packed[:8], "big")


def family_of_source(source: Source) -> IpFamily:
    """Of the address that it was made of."""
    return IpFamily.V6 if source & _IPV6 else IpFamily.V4


@dataclass(frozen=True, slots=True)
class Newcomer:
    """One flow."""

    source: Source
    owner: Owner
    began_ns: int
    is_restored: bool
    """Another relay had it, as a store says: then its transceiver may have nothing to say yet."""


class Newcomers:
    """`is_confirmed` says of a place whether something has come back after all: where nobody tells when it
    does, each is asked about before it is given away.
    """

    def __init__(self, is_confirmed: Callable[[int], bool]) -> None:
        self._is_confirmed = is_confirmed
        self._fresh: dict[int, Newcomer] = {}
        self._restored: dict[int, Newcomer] = {}
        self._by_source: dict[Source, Places] = {}
        self._by_owner: dict[Owner, Places] = {}
        """Of the fresh ones, these two."""

    def __len__(self) -> int:
        return len(self._fresh) + len(self._restored)

    @property
    def fresh(self) -> int:
        """How many were opened by a check."""
        return len(self._fresh)

    def places(self) -> Iterator[int]:
        """All of them."""
        yield from self._fresh
        yield from self._restored

    def add(self, place: int, newcomer: Newcomer) -> None:
        """A flow begins."""
        if newcomer.is_restored:
            self._restored[place] = newcomer
            return
        self._fresh[place] = newcomer
        self._by_source.setdefault(newcomer.source, {})[place] = None
        self._by_owner.setdefault(newcomer.owner, {})[place] = None

    def discard(self, place: int) -> None:
        """Something has come back to a flow, or it has ended; any place may be told."""
        newcomer = self._fresh.pop(place, None)
        if newcomer is None:
            self._restored.pop(place, None)
            return
        _leave(self._by_source, newcomer.source, place)
        _leave(self._by_owner, newcomer.owner, place)

    def rename(self, place: int, owner: Owner) -> None:
        """A flow has another ufrag."""
        old = self._fresh.get(place)
        if old is not None and old.owner != owner:
            _leave(self._by_owner, old.owner, place)
            self._by_owner.setdefault(owner, {})[place] = None
            self._fresh[place] = Newcomer(old.source, owner, old.began_ns, old.is_restored)

    def of_source(self, source: Source) -> int:
        """How many fresh ones a source has."""
        return len(self._by_source.get(source, ()))

    def oldest(self) -> int | None:
        """The place to be given away first: those that a store knew come last."""
        fresh = self._first(self._fresh)
        return self._first(self._restored) if fresh is None else fresh

    def oldest_fresh(self) -> int | None:
        """The oldest that a check has opened."""
        return self._first(self._fresh)

    def oldest_of_source(self, source: Source) -> int | None:
        """The same of one source."""
        return self._first(self._by_source.get(source, {}))

    def oldest_of_owner(self, owner: Owner) -> int | None:
        """The same of one ufrag."""
        return self._first(self._by_owner.get(owner, {}))

    def _first(self, places: dict[int, Newcomer] | Places) -> int | None:
        while places:
            place = next(iter(places))
            if not self._is_confirmed(place):
                return place
            self.discard(place)
        return None

    def overdue(self, deadline_ns: int, limit: int) -> list[int]:
        """The places of up to `limit` fresh ones that began before, oldest first, and are not confirmed."""
        found = list[int]()
        while len(found) < limit:
            place = self._first(self._fresh)
            if place is None or self._fresh[place].began_ns >= deadline_ns:
                break
            found.append(place)
            self.discard(place)
        return found


def _leave(index: dict[K, Places], key: K, place: int) -> None:
    places = index[key]
    del places[place]
    if not places:
        del index[key]

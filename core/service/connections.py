"""Who may connect to an HTTP server, and who gives way when there is no room: a table, without I/O.

Each connection is in one phase at a time. Whoever nobody works for gives way to who has only come, the one
that has been so for longest first; so a server whose connections are all held by somebody slow goes on
serving whoever is quick.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv6Address, ip_address

PREFIX_BITS = 64
"""Of IPv6, what one client has (RFC 6177); addresses within it cost nothing."""


class Phase(StrEnum):
    """What a connection is about; a metric label."""

    REFUSED = "refused"
    """It has its answer, and what it still sends is thrown away."""
    IDLE = "idle"
    """Between two requests."""
    HEADER = "header"
    """From its beginning until the first header is there, and from the first byte of each further one."""
    BODY = "body"
    ANSWER = "answer"
    """The answer is made, and not taken yet."""
    BUSY = "busy"
    """A whole request is being worked on."""
    WEBSOCKET = "websocket"


RANKS = ((Phase.REFUSED,), (Phase.IDLE,), (Phase.HEADER, Phase.BODY), (Phase.ANSWER,))
"""Who gives way, in this order. The others never do."""
RANK_OF = {phase: rank for rank, phases in enumerate(RANKS) for phase in phases}


def source_of(address: str | None) -> str | None:
    """Whose connections are counted together: an IPv4 address, or a /64 of IPv6. None for who has no address,
    such as at a Unix socket.
    """
    if address is None:
        return None
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return None
    if not isinstance(parsed, IPv6Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(IPv6Address(int(parsed) >> PREFIX_BITS << PREFIX_BITS))


@dataclass(eq=False, slots=True)
class Entry:
    """One connection."""

    source: str | None
    """None is not counted by address: a trusted proxy, or who has none."""
    phase: Phase = Phase.HEADER
    since_ns: int = 0
    is_closing: bool = False
    """It has given way, and its descriptor is not closed yet."""


@dataclass(frozen=True, slots=True)
class Room:
    """What a table may hold."""

    connections: int
    per_source: int | None
    """None is any number."""
    closing: int
    """Descriptors beyond `connections` that may be held by who has given way."""


@dataclass(slots=True)
class ConnectionTable:
    """The connections of one server."""

    _of: Mapping[Phase, dict[Entry, None]] = field(default_factory=lambda: {phase: {} for phase in Phase})
    """In the order in which they came into the phase: dicts keep it."""
    _by_source: dict[str, dict[Entry, None]] = field(default_factory=dict)
    _closing: int = 0

    def __len__(self) -> int:
        return sum(map(len, self._of.values()))

    @property
    def counts(self) -> Mapping[Phase, int]:
        """How many are in each phase."""
        return Counter({phase: len(entries) for phase, entries in self._of.items()})

    def admit(self, source: str | None, room: Room, now_ns: int) -> tuple[Entry | None, Entry | None]:
        """The entry of one that connects, None where there is no room for it; and who gives way to it, which
        is no longer in the table by then and has to be closed.
        """
        crowd = self._by_source.get(source, {}) if source is not None else {}
        victim: Entry | None = None
        if room.per_source is not None and self._counted(crowd) >= room.per_source:
            victim = self._idlest_of(crowd)
        elif len(self) >= room.connections:
            victim = self._idlest()
        else:
            return self._add(source, now_ns), None
        if victim is None or self._closing >= room.closing:
            return None, None
        self._drop(victim)
        victim.is_closing = True
        self._closing += 1
        return self._add(source, now_ns), victim

    def move(self, entry: Entry, phase: Phase, now_ns: int) -> None:
        """It has come into a phase. No-op for one that is not in the table any more."""
        if entry.phase is phase or entry not in self._of[entry.phase]:
            return
        del self._of[entry.phase][entry]
        entry.phase, entry.since_ns = phase, now_ns
        self._of[phase][entry] = None

    def closed(self, entry: Entry) -> None:
        """Its descriptor is closed. Once for each entry."""
        if entry.is_closing:
            self._closing -= 1
        else:
            self._drop(entry)

    def overdue(self, phase: Phase, limit_ns: int, now_ns: int) -> Iterator[Entry]:
        """Who has been in a phase for longer than that."""
        for entry in list(self._of[phase]):
            if now_ns - entry.since_ns < limit_ns:
                return
            yield entry

    def _add(self, source: str | None, now_ns: int) -> Entry:
        entry = Entry(source, since_ns=now_ns)
        self._of[entry.phase][entry] = None
        if source is not None:
            self._by_source.setdefault(source, {})[entry] = None
        return entry

    def _drop(self, entry: Entry) -> None:
        del self._of[entry.phase][entry]
        if entry.source is not None:
            crowd = self._by_source[entry.source]
            del crowd[entry]
            if not crowd:
                del self._by_source[entry.source]

    def _idlest(self) -> Entry | None:
        """Of all; who is not counted by address comes last, since a proxy's connections are many clients'."""
        for is_counted in (True, False):
            for phases in RANKS:
                oldest = (self._oldest(phase, is_counted=is_counted) for phase in phases)
                found = [entry for entry in oldest if entry is not None]
                if found:
                    return min(found, key=lambda entry: entry.since_ns)
        return None

    def _oldest(self, phase: Phase, *, is_counted: bool) -> Entry | None:
        return next((entry for entry in self._of[phase] if (entry.source is not None) is is_counted), None)

    def _counted(self, crowd: Mapping[Entry, None]) -> int:
        return sum(entry.phase is not Phase.WEBSOCKET for entry in crowd)

    def _idlest_of(self, crowd: Mapping[Entry, None]) -> Entry | None:
        ranked = (entry for entry in crowd if entry.phase in RANK_OF)
        return min(ranked, key=lambda entry: (RANK_OF[entry.phase], entry.since_ns), default=None)

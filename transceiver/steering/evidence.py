"""Where a client is, by the best evidence that there is of it.

In this order: the PoP that the request came through, coordinates that a CDN has found out, the client's
address in a database, nothing. What the client itself could have written counts for nothing, so headers
are read only where the peer of the connection is a trusted proxy, and only those that such proxies are said
to set.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, TypeVar

from core.addr import IPNetwork
from core.config import LOCATION_HEADERS
from core.errors import SteeringError
from core.geo import Position
from transceiver.steering.headers import (
    EvidenceFault,
    canonical_address,
    is_within,
    read_address_untrusted,
    read_forwarded_untrusted,
    read_pop_untrusted,
    read_position_untrusted,
    read_x_forwarded_for_untrusted,
)

POP_HEADER, LATITUDE, CONNECTING_IP, FORWARDED, X_FORWARDED_FOR = LOCATION_HEADERS
"""The first is set by what terminates HTTP in a PoP, to the PoP's id. The second is of Cloudflare's managed
transform "Add visitor location headers", and has a companion.
"""
LONGITUDE = "CF-IPLongitude"

T = TypeVar("T")
HeaderLines = Callable[[str], Sequence[str]]
"""The values of all lines of a request that have this name, in their order."""


class Source(StrEnum):
    """What tells where the client is; a metric label."""

    POP_HEADER = "pop_header"
    LOCATION_HEADER = "location_header"
    DATABASE = "database"
    DEFAULT = "default"
    """Nothing does."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Where the client is, as far as is known."""

    source: Source = Source.DEFAULT
    pop: str | None = None
    """The id of the PoP that it came through; of a [[pop]], always."""
    position: Position | None = None

    def encode(self) -> str:
        """For a header between the processes of a host."""
        return json.dumps([self.source, self.pop, self.position])


NO_EVIDENCE = Evidence()


def decode_evidence(text: str) -> Evidence:
    """The inverse of `Evidence.encode`."""
    source, pop, position = json.loads(text)
    return Evidence(Source(source), pop, None if position is None else Position(*position))


@dataclass(frozen=True, slots=True)
class Trust:
    """Whose headers are believed, and which."""

    proxies: Sequence[IPNetwork] = ()
    headers: Sequence[str] = ()
    """Of `transceiver.trusted_headers`; both coordinates by the name of the latitude."""


TRUSTING_NOBODY = Trust()


class Database(Protocol):
    """Where addresses are."""

    def position_of(self, address: str) -> Position | None:
        """None for an address that it does not have. Raises SteeringError."""


class Locator:
    """Finds the evidence in requests."""

    def __init__(
        self, trust: Trust, pops: Mapping[str, Position | None], database: Database | None = None
    ) -> None:
        """`pops` are those of the configuration, with their places."""
        self._trust = trust
        self._pops = pops
        self._database = database

    def client_of(self, peer: str | None, lines: HeaderLines) -> str | None:
        """The address of the client behind a trusted proxy, as that says it; None where the peer is no such
        proxy, or does not say.
        """
        address = None if peer is None else canonical_address(peer)
        if address is None or not is_within(address, self._trust.proxies):
            return None
        return self._client(lines, [])

    def locate(self, peer: str | None, lines: HeaderLines) -> tuple[Evidence, Sequence[EvidenceFault]]:
        """What is known of the client of a request, and why nothing better is. `peer` is the address at the
        other end of the connection, None for one that has none.
        """
        faults: list[EvidenceFault] = []
        address = None if peer is None else canonical_address(peer)
        if address is not None and is_within(address, self._trust.proxies):
            return self._by_headers(lines, faults), faults
        if any(lines(name) for name in self._trust.headers):
            faults.append(EvidenceFault.UNTRUSTED_PEER)
        return self._by_address(address, faults), faults

    def _by_headers(self, lines: HeaderLines, faults: list[EvidenceFault]) -> Evidence:
        """A PoP that has no place tells only itself; what else is known then ranks the others."""
        pop = self._read(POP_HEADER, lines, faults, self._read_pop)
        place = None if pop is None else self._pops[pop]
        if place is not None:
            return Evidence(Source.POP_HEADER, pop, place)
        found = self._by_coordinates(lines, faults)
        if found.position is None:
            found = self._by_address(self._client(lines, faults), faults)
        return found if pop is None else Evidence(Source.POP_HEADER, pop, found.position)

    def _by_coordinates(self, lines: HeaderLines, faults: list[EvidenceFault]) -> Evidence:
        def read(latitudes: Sequence[str]) -> Position:
            return read_position_untrusted(latitudes, lines(LONGITUDE))

        position = self._read(LATITUDE, lines, faults, read)
        return NO_EVIDENCE if position is None else Evidence(Source.LOCATION_HEADER, None, position)

    def _by_address(self, address: str | None, faults: list[EvidenceFault]) -> Evidence:
        if address is None or self._database is None:
            return NO_EVIDENCE
        try:
            position = self._database.position_of(address)
        except SteeringError as error:
            faults.append(EvidenceFault(error.reason))
            return NO_EVIDENCE
        return NO_EVIDENCE if position is None else Evidence(Source.DATABASE, None, position)

    def _client(self, lines: HeaderLines, faults: list[EvidenceFault]) -> str | None:
        """Its address. That of the proxy itself is no substitute: it may be anywhere."""
        proxies = self._trust.proxies
        readers: Mapping[str, Callable[[Sequence[str]], str]] = {
            CONNECTING_IP: read_address_untrusted,
            FORWARDED: lambda values: read_forwarded_untrusted(values, proxies),
            X_FORWARDED_FOR: lambda values: read_x_forwarded_for_untrusted(values, proxies),
        }
        found = (self._read(name, lines, faults, read) for name, read in readers.items())
        return next((address for address in found if address is not None), None)

    def _read_pop(self, values: Sequence[str]) -> str:
        pop = read_pop_untrusted(values)
        if pop not in self._pops:
            raise SteeringError(EvidenceFault.UNKNOWN_POP)
        return pop

    def _read(
        self,
        name: str,
        lines: HeaderLines,
        faults: list[EvidenceFault],
        read: Callable[[Sequence[str]], T],
    ) -> T | None:
        """What a header says; None where it is missing, is not to be believed, or cannot be read."""
        values = lines(name) if name in self._trust.headers else ()
        if not values:
            return None
        try:
            return read(values)
        except SteeringError as error:
            faults.append(EvidenceFault(error.reason))
            return None

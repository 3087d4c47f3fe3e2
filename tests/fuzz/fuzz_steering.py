"""Fuzz the headers that tell where a client is, from trusted proxies and from strangers.

Invariant: whatever they say, the evidence names a configured PoP or none and a place on the globe or none;
a stranger's headers change nothing; what is prepended to a chain does not either; each parser returns or
raises SteeringError.
"""

from __future__ import annotations

from ipaddress import ip_network

from core.errors import SteeringError
from core.geo import Position
from transceiver.steering.choice import Candidate, choose
from transceiver.steering.evidence import (
    CONNECTING_IP,
    FORWARDED,
    LATITUDE,
    LONGITUDE,
    NO_EVIDENCE,
    POP_HEADER,
    X_FORWARDED_FOR,
    Locator,
    Trust,
    decode_evidence,
)
from transceiver.steering.headers import (
    canonical_address,
    read_forwarded_untrusted,
    read_x_forwarded_for_untrusted,
)

PROXIES = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))
HEADERS = (POP_HEADER, LATITUDE, CONNECTING_IP, FORWARDED, X_FORWARDED_FOR)
POPS = {"fra": Position(50.1, 8.7), "nrt": Position(35.8, 140.4), "x": None}


class Places:
    """Every address is somewhere."""

    def position_of(self, address: str) -> Position | None:
        """By its last character, so that a wrong one would be seen."""
        assert canonical_address(address) == address
        return Position(float(ord(address[-1]) % 90), 0.0)


LOCATOR = Locator(Trust(PROXIES, HEADERS), POPS, Places())


def test_one_input(data: bytes) -> None:
    """Lines of `NUMBER VALUE`: a value of the header of that number."""
    headers: dict[str, list[str]] = {}
    names = (*HEADERS, LONGITUDE)
    for line in data.decode("utf-8", "surrogateescape").split("\n")[:64]:
        if line:
            headers.setdefault(names[ord(line[0]) % len(names)], []).append(line[1:])

    def lines(name: str) -> list[str]:
        return headers.get(name, [])

    evidence, faults = LOCATOR.locate("10.0.0.1", lines)
    assert evidence.pop is None or evidence.pop in POPS
    assert evidence.position is None or evidence.position.is_on_globe
    assert len(faults) <= len(HEADERS)
    assert decode_evidence(evidence.encode()) == evidence
    choice = choose([Candidate(pop, (), place, is_usable=True) for pop, place in POPS.items()], evidence)
    assert choice is not None
    assert choice.header.isascii()
    assert LOCATOR.locate(None, lines)[0] == NO_EVIDENCE
    assert LOCATOR.locate("192.0.2.1", lines)[0] == LOCATOR.locate("192.0.2.1", lambda _: [])[0]
    for written in (",".join(lines(FORWARDED)), ",".join(lines(X_FORWARDED_FOR))):
        _check_chain(written)


def _check_chain(written: str) -> None:
    """Who is behind a trusted proxy is who it says, whatever they wrote before."""
    assert read_x_forwarded_for_untrusted([written, "192.0.2.1, 10.0.0.2"], PROXIES) == "192.0.2.1"
    assert read_forwarded_untrusted([written, "for=192.0.2.1, for=10.0.0.2"], PROXIES) == "192.0.2.1"
    for read in (read_x_forwarded_for_untrusted, read_forwarded_untrusted):
        try:
            assert canonical_address(read([written], PROXIES)) is not None
        except SteeringError:
            continue

"""Headers that tell where a client is. Whether whoever sent them is believed has been settled before.

A function gets the values of all lines that a header had, in their order, and raises SteeringError. Chains
of addresses are read from their right end, where the proxies are that we trust: what stands further left
may be the client's own invention, of any length, and is not looked at.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from enum import StrEnum
from ipaddress import IPv6Address, ip_address

from core.addr import IPNetwork, unpack_address
from core.errors import SteeringError
from core.geo import Position

MAX_HOPS = 16
"""Trusted proxies in a row. A chain of more is no chain of proxies."""
MAX_ADDRESS_CHARS = 64
"""`[`, an IPv6 address, `]:` and a port are 53."""
_POP = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_DEGREES = re.compile(r"[+-]?[0-9]{1,3}(\.[0-9]{1,20})?")
_PORT = re.compile(r":[0-9]{1,5}")
_PAIR = re.compile(r'([!#$%&\'*+.^_`|~0-9A-Za-z-]+)=("(?:[^"\\]|\\.)*"|[^",;\s]+)')
"""RFC 7239 §4: `name=value`; the value is lenient, as proxies forget to quote addresses."""


class EvidenceFault(StrEnum):
    """Why what could have told where a client is was not used; a metric label."""

    UNTRUSTED_PEER = "untrusted_peer"
    """The header came from somebody who is not in `transceiver.trusted_proxies`."""
    SEVERAL_VALUES = "several_values"
    """Of which one may be the client's own: its proxy has added where it should have replaced."""
    MALFORMED = "malformed"
    OUT_OF_RANGE = "out_of_range"
    """Degrees that are not on the globe."""
    TOO_LONG = "too_long"
    UNKNOWN_POP = "unknown_pop"
    """Not a [[pop]]."""
    DATABASE_FAULT = "database_fault"
    """The database is damaged where the client's address is looked for."""


def read_pop_untrusted(lines: Sequence[str]) -> str:
    """The id of a PoP."""
    value = _only(lines)
    if _POP.fullmatch(value) is None:
        raise SteeringError(EvidenceFault.MALFORMED)
    return value


def read_position_untrusted(latitudes: Sequence[str], longitudes: Sequence[str]) -> Position:
    """Decimal degrees, one header for each."""
    values = (_only(latitudes), _only(longitudes))
    if any(_DEGREES.fullmatch(value) is None for value in values):
        raise SteeringError(EvidenceFault.MALFORMED)
    position = Position(*map(float, values))
    if not position.is_on_globe:
        raise SteeringError(EvidenceFault.OUT_OF_RANGE)
    return position


def read_address_untrusted(lines: Sequence[str]) -> str:
    """A header with one address, such as CF-Connecting-IP."""
    return _address(_only(lines))


def read_x_forwarded_for_untrusted(lines: Sequence[str], trusted: Sequence[IPNetwork]) -> str:
    """The client's address in an X-Forwarded-For: the rightmost that is no trusted proxy's."""
    return _client(lines, _address, trusted)


def read_forwarded_untrusted(lines: Sequence[str], trusted: Sequence[IPNetwork]) -> str:
    """The same in a Forwarded (RFC 7239). Commas separate even within quotes, since no address has one: a
    quote that a client has left open must not swallow what its proxy wrote behind it.
    """
    return _client(lines, _forwarded_for, trusted)


def canonical_address(text: str) -> str | None:
    """An IP address as sockets spell it, IPv4 in IPv6 as IPv4; None for what is none, or has a scope."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        if address.scope_id is not None:
            return None
        address = address.ipv4_mapped or address
    return unpack_address(address.packed)


def is_within(address: str, networks: Sequence[IPNetwork]) -> bool:
    """Whether a canonical address is in one of them."""
    parsed = ip_address(address)
    return any(parsed in network for network in networks if network.version == parsed.version)


def is_from(address: str, networks: Sequence[IPNetwork]) -> bool:
    """The same of an address as a socket has it; what is none is in no network."""
    canonical = canonical_address(address)
    return canonical is not None and is_within(canonical, networks)


def _only(lines: Sequence[str]) -> str:
    if len(lines) != 1 or "," in lines[0]:
        raise SteeringError(EvidenceFault.SEVERAL_VALUES if lines else EvidenceFault.MALFORMED)
    return lines[0].strip()


def _client(lines: Sequence[str], read_hop: Callable[[str], str], trusted: Sequence[IPNetwork]) -> str:
    parts = ",".join(lines).rsplit(",", MAX_HOPS)
    has_more = len(parts) > MAX_HOPS
    address = None
    for hop in reversed(parts[has_more:]):
        if not hop.strip():
            continue  # an empty element of a list is none (RFC 9110 §5.6.1.2)
        address = read_hop(hop.strip())
        if not is_within(address, trusted):
            return address
    if has_more or address is None:
        raise SteeringError(EvidenceFault.TOO_LONG if has_more else EvidenceFault.MALFORMED)
    return address  # the client is among the trusted itself


def _address(text: str) -> str:
    """With or without a port, as proxies write it: `192.0.2.1:80`, `[2001:db8::1]:80`."""
    if len(text) > MAX_ADDRESS_CHARS:
        raise SteeringError(EvidenceFault.MALFORMED)
    host, bracket, rest = text.removeprefix("[").partition("]")
    is_bracketed = text.startswith("[") and bool(bracket)
    if not is_bracketed:
        host, colon, port = text.partition(":")
        host, rest = (text, "") if ":" in port else (host, colon + port)
    address = canonical_address(host) if not rest or _PORT.fullmatch(rest) else None
    if address is None or (is_bracketed and ":" not in host):
        raise SteeringError(EvidenceFault.MALFORMED)
    return address


def _forwarded_for(element: str) -> str:
    """The `for` of one element. A name that a proxy made up, and `unknown`, name nobody (RFC 7239 §6)."""
    found = []
    for pair in element.split(";"):
        match = _PAIR.fullmatch(pair.strip())
        if match is None:
            raise SteeringError(EvidenceFault.MALFORMED)
        if match[1].lower() == "for":
            found.append(match[2].removeprefix('"').removesuffix('"'))
    if len(found) != 1:
        raise SteeringError(EvidenceFault.SEVERAL_VALUES if found else EvidenceFault.MALFORMED)
    return _address(found[0])

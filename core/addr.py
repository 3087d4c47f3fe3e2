"""Addresses as values: endpoints, and the prefixes that clusters are numbered in."""

from __future__ import annotations

import ipaddress
import socket
from enum import IntEnum
from typing import NamedTuple

IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network


class IpFamily(IntEnum):
    """The version of IP that an address is of, and the key of whatever there is once for each.

    Its value is the version and not an AF_ number of sockets: those are `af`.
    """

    V4 = 4
    V6 = 6

    @property
    def af(self) -> socket.AddressFamily:
        """AF_INET or AF_INET6, as sockets want it."""
        return socket.AF_INET6 if self is _V6 else socket.AF_INET

    @property
    def address_bytes(self) -> int:
        """Length of a packed address: 4 or 16."""
        return 16 if self is _V6 else 4


_V4, _V6 = IpFamily.V4, IpFamily.V6  # a member of an enum is found by far slower than a name of a module


def family_of(host: str) -> IpFamily:
    """The family of an address in text, which must be one."""
    return _V6 if ":" in host else _V4


def family_of_packed(packed: bytes) -> IpFamily:
    """The family of 4 or 16 bytes in network order."""
    return _V4 if len(packed) == 4 else _V6


def pack_address(host: str) -> bytes:
    """4 or 16 bytes in network order. Raises OSError for what is no address."""
    return socket.inet_pton(socket.AF_INET6 if ":" in host else socket.AF_INET, host)


def unpack_address(packed: bytes) -> str:
    """The inverse, spelled as sockets spell it. Raises ValueError for other lengths than 4 and 16."""
    return socket.inet_ntop(socket.AF_INET if len(packed) == 4 else socket.AF_INET6, packed)


class Endpoint(NamedTuple):
    """An IP address and UDP or TCP port. Equal to the `(host, port)` tuple that IPv4 sockets give."""

    host: str
    port: int

    @property
    def family(self) -> IpFamily:
        """Of its address."""
        return _V6 if ":" in self.host else _V4

    @property
    def af(self) -> socket.AddressFamily:
        """AF_INET or AF_INET6, as sockets want it."""
        return socket.AF_INET6 if ":" in self.host else socket.AF_INET

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return ipaddress.ip_address(self.host).is_loopback

    @property
    def is_wildcard(self) -> bool:
        """Whether it means every address of this machine (0.0.0.0, ::)."""
        return ipaddress.ip_address(self.host).is_unspecified

    @property
    def from_here(self) -> Endpoint:
        """Where this machine itself reaches who listens there: a wildcard by loopback."""
        return Endpoint("::1" if self.family is _V6 else "127.0.0.1", self.port) if self.is_wildcard else self

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_endpoint(text: str) -> Endpoint:
    """`192.0.2.1:3478` or `[2001:db8::1]:3478`, in canonical spelling.

    Raises ValueError with a sentence for an operator; host names are refused, since a name that
    resolves differently tomorrow is not an address.
    """
    host, colon, port_text = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not colon or not port_text.isascii() or not port_text.isdigit():
        raise ValueError(f"{text!r} is not ADDRESS:PORT, such as 192.0.2.1:3478 or [2001:db8::1]:3478")
    address = parse_address(host[1:-1] if bracketed else host)
    if bracketed != (":" in address):
        raise ValueError(f"{text!r}: write IPv6 addresses, and only those, in brackets")
    if len(port_text) > 5 or not 0 < int(port_text) < 65536:
        raise ValueError(f"{text!r}: the port must be 1–65535")
    return Endpoint(address, int(port_text))


def parse_address(text: str) -> str:
    """An IPv4 or IPv6 address, spelled as sockets spell it, so that equal addresses are equal text.

    Raises ValueError with a sentence for an operator, also for the two kinds that would never equal
    what a socket reports: IPv6 with a scope (`%eth0`) and IPv4 written as IPv6.
    """
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise ValueError(f"{text!r} is not an IP address") from None
    if isinstance(address, ipaddress.IPv6Address):
        if address.scope_id is not None:
            raise ValueError(f"{text!r}: an address with a scope leads nowhere from another machine")
        if address.ipv4_mapped is not None:
            raise ValueError(f"{text!r}: write IPv4 as {address.ipv4_mapped}")
    return unpack_address(address.packed)  # `ipaddress` spells a few otherwise, and is slower


def from_sockaddr(sockaddr: tuple[str, int] | tuple[str, int, int, int]) -> Endpoint:
    """The endpoint in what `recvfrom` returns; scope and flow label are dropped."""
    return Endpoint(sockaddr[0].partition("%")[0], sockaddr[1])


def host_in_prefix(prefix: IPNetwork, host: int) -> str | None:
    """The address of host number `host` in `prefix`: the number OR-ed into the host bits.

    None where the number needs more bits than the prefix leaves, so that nothing outside of a
    configured prefix can ever be named.
    """
    if host >> (prefix.max_prefixlen - prefix.prefixlen):
        return None
    network = prefix.network_address
    return unpack_address((int(network) | host).to_bytes(network.max_prefixlen >> 3, "big"))

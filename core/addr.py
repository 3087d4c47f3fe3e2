"""Addresses as values: endpoints, and the prefixes that clusters are numbered in."""

from __future__ import annotations

import ipaddress
import socket
from typing import NamedTuple

IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network


class Endpoint(NamedTuple):
    """An IP address and UDP or TCP port. Equal to the `(host, port)` tuple that IPv4 sockets give."""

    host: str
    port: int

    @property
    def family(self) -> socket.AddressFamily:
        """AF_INET or AF_INET6."""
        return socket.AF_INET6 if ":" in self.host else socket.AF_INET

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return ipaddress.ip_address(self.host).is_loopback

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
    try:
        address = ipaddress.ip_address(host[1:-1] if bracketed else host)
    except ValueError:
        raise ValueError(f"{text!r}: {host!r} is not an IP address") from None
    if bracketed != (address.version == 6):
        raise ValueError(f"{text!r}: write IPv6 addresses, and only those, in brackets")
    port = int(port_text)
    if not 0 < port < 65536:
        raise ValueError(f"{text!r}: the port must be 1–65535")
    return Endpoint(str(address), port)


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
    return str(prefix.network_address + host)

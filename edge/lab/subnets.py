"""Which addresses a lab has: such as the machine that it runs on neither has nor routes.

A lab whose client is the machine itself shares the machine's routes with everything else there. Its PoP would
answer an address of the machine that the lab has as well to its own region, and the machine would send to
the lab what it has a route for elsewhere. So each prefix of a lab is the first of a few that nothing of the
machine's is in the way of. Those of documentation (RFC 5737, RFC 3849) come first, which are nobody's; then
others of documentation and benchmarks (RFC 9637, RFC 2544), and private ones (RFC 1918, RFC 4193).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network, ip_network

from core.addr import IpFamily
from core.errors import UnavailableError

Network = IPv4Network | IPv6Network

DEFAULT_ROUTE_BITS = {IpFamily.V4: 1, IpFamily.V6: 3}
"""A route of no more than these is a default route, which is in nobody's way: VPNs write it as two halves,
some in IPv6 as 2000::/3, which is all that is given out."""


class Purpose(StrEnum):
    """What the addresses of a lab are for."""

    BACKBONE = "backbone"
    """Between PoP and region."""
    VIPS = "VIPs"
    LINKS = "link"
    """Between the PoP and the router that clients are behind."""
    CLIENTS = "clients"


PART_BITS = {
    Purpose.BACKBONE: (24, 64),
    Purpose.VIPS: (32, 128),
    Purpose.LINKS: (30, 64),
    Purpose.CLIENTS: (32, 64),
}
"""How long the prefix is that one lab takes of those that all labs share, in IPv4 and in IPv6."""
_CANDIDATES = {
    Purpose.BACKBONE: ("192.0.2.0/24", 0, "b::/64"),
    Purpose.VIPS: ("198.51.100.0/24", 1, "f::/64"),
    Purpose.LINKS: ("203.0.113.0/25", 2, "c::/48"),
    Purpose.CLIENTS: ("203.0.113.128/25", 3, "d::/48"),
}
"""The first in IPv4, its place in each of the others, and how each ends in IPv6."""
_OTHERS_V4 = (
    *("198.18.0.0/22", "198.19.252.0/22", "10.213.112.0/22", "10.87.36.0/22"),
    *("172.29.212.0/22", "172.22.144.0/22", "192.168.236.0/22", "192.168.148.0/22"),
)
_STARTS_V6 = ("2001:db8", "3fff:db8", "fd9b:6f1e", "fd5c:e207")


def candidates(purpose: Purpose) -> dict[IpFamily, list[Network]]:
    """Every prefix that may serve a purpose, the first choice first; those of two purposes never overlap."""
    first, place, end = _CANDIDATES[purpose]
    ipv4 = IPv4Network(first)
    rooms = (list(IPv4Network(text).subnets(new_prefix=24))[place] for text in _OTHERS_V4)
    others = (list(room.subnets(new_prefix=ipv4.prefixlen))[-1] for room in rooms)
    return {
        IpFamily.V4: [ipv4, *others],
        IpFamily.V6: [IPv6Network(f"{start}:{end}") for start in _STARTS_V6],
    }


@dataclass(frozen=True, slots=True)
class Subnets:
    """The prefixes that the labs of a machine share, in IPv4 and in IPv6."""

    backbone: tuple[str, str] = ("192.0.2.0/24", "2001:db8:b::/64")
    vips: tuple[str, str] = ("198.51.100.0/24", "2001:db8:f::/64")
    links: tuple[str, str] = ("203.0.113.0/25", "2001:db8:c::/48")
    clients: tuple[str, str] = ("203.0.113.128/25", "2001:db8:d::/48")


def part(purpose: Purpose, prefix: Network, index: int) -> Network:
    """What the lab of an index takes of a prefix; no other lab takes any of it, but of the backbone, which
    no two labs see of each other.
    """
    bits = PART_BITS[purpose][prefix.version == 6]
    number = {Purpose.BACKBONE: 0, Purpose.VIPS: index + 1}.get(purpose, index)
    return ip_network(f"{prefix.network_address + (number << (prefix.max_prefixlen - bits))}/{bits}")


def choose(index: int, taken: Iterable[Network]) -> Subnets:
    """The first prefixes of which the lab of an index takes nothing that is in the way of `taken`: what the
    machine has addresses in, and routes. Raises UnavailableError where all candidates are taken.
    """
    narrow = [net for net in taken if net.prefixlen > DEFAULT_ROUTE_BITS[IpFamily(net.version)]]
    found = {purpose: _free(purpose, index, narrow) for purpose in Purpose}
    return Subnets(
        backbone=found[Purpose.BACKBONE],
        vips=found[Purpose.VIPS],
        links=found[Purpose.LINKS],
        clients=found[Purpose.CLIENTS],
    )


def _free(purpose: Purpose, index: int, taken: Sequence[Network]) -> tuple[str, str]:
    chosen: list[str] = []
    for family, prefixes in candidates(purpose).items():
        free = next((net for net in prefixes if not _is_taken(part(purpose, net, index), taken)), None)
        if free is None:
            raise UnavailableError(
                f"no IPv{family} addresses are free for the {purpose} of a lab: this machine has or routes "
                f"some of each of {', '.join(map(str, prefixes))}; `ip -{family} route show table all` lists "
                "its routes: take one of these away while there is a lab"
            )
        chosen.append(str(free))
    return chosen[0], chosen[1]


def _is_taken(wanted: Network, taken: Sequence[Network]) -> bool:
    return any(net.version == wanted.version and net.overlaps(wanted) for net in taken)

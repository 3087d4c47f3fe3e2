"""Which addresses the parts of a planet have. None of it is joined to this machine, so nothing collides.

| what | IPv4 | IPv6 |
| --- | --- | --- |
| clients of city C | 198.18.C.0/24 | 2001:db8:cC::/48 |
| VIPs of PoP P | 198.19.P.0/24 | 2001:db8:fP::/48 |
| VIPs that PoPs share, the Sth | 198.19.(128+S).0/24 | 2001:db8:eS::/48 |
| backbone of PoP P | 10.1.P.0/24 | fd00:1:P::/48 |
| backbone of region R | 10.2.R.0/24 | fd00:2:R::/48 |

Numbers begin with 1, in the order of the file. Clients and VIPs are of the ranges for benchmarks (RFC 2544)
and documentation (RFC 3849). Links of the WAN have only addresses of the link, fe80::1 and fe80::2: what is
no client's own is no candidate of its calls.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from core.addr import Endpoint

VIP_PORT, STATUS_PORT, SIGNALING_PORT, REDIS_PORT = 3478, 9464, 8080, 6379
TRANSCEIVER_STATUS_PORT, ANNOUNCE_STATUS_PORT, MEDIA_PORT = 9465, 9466, 40000
_SHARED, _UPLINK, _BACKBONES, _SERVICE = 128, 64, 128, 254
_HOSTS, _REDIS, _TRANSCEIVERS = 2, 33, 128
_BACKBONES_OF_HOST = 8
_V4_CLIENTS, _V4_VIPS, _V4_POPS, _V4_REGIONS = "198.18.0.0", "198.19.0.0", "10.1.0.0", "10.2.0.0"
_V6_CLIENTS, _V6_VIPS, _V6_SHARED = "2001:db8:c00::", "2001:db8:f00::", "2001:db8:e00::"
_V6_POPS, _V6_REGIONS, _V6_BACKBONES = "fd00:1::", "fd00:2::", 0xB


@dataclass(frozen=True, slots=True)
class Pair:
    """An address of each family, and the lengths of the prefixes that they stand in, or for."""

    ipv4: str
    ipv6: str
    lengths: tuple[int, int] = (32, 128)

    @property
    def both(self) -> tuple[str, str]:
        """Without lengths."""
        return self.ipv4, self.ipv6

    @property
    def with_lengths(self) -> tuple[str, str]:
        """`ADDRESS/LENGTH`."""
        return f"{self.ipv4}/{self.lengths[0]}", f"{self.ipv6}/{self.lengths[1]}"

    def endpoints(self, port: int) -> tuple[Endpoint, Endpoint]:
        """With a port."""
        return Endpoint(self.ipv4, port), Endpoint(self.ipv6, port)


_LAN, _SITE, _CLUSTER = (26, 64), (24, 48), (28, 124)


def _v4(base: str, part: int, host: int) -> str:
    return str(IPv4Address(base) + (part << 8) + host)


def _v6(base: str, part: int, host: int, subnet: int = 0) -> str:
    return str(IPv6Address(base) + (part << 80) + (subnet << 64) + host)


def clients(city: int) -> Pair:
    """What is of a city."""
    return Pair(_v4(_V4_CLIENTS, city, 0), _v6(_V6_CLIENTS, city, 0), _SITE)


def client(city: int) -> Pair:
    """What its client calls from."""
    return Pair(_v4(_V4_CLIENTS, city, 1), _v6(_V6_CLIENTS, city, 1), _SITE)


def vips(pop: int) -> Pair:
    """What a PoP announces for the VIP that is its own."""
    return Pair(_v4(_V4_VIPS, pop, 0), _v6(_V6_VIPS, pop, 0), _SITE)


def vip(pop: int) -> Pair:
    """That VIP."""
    return Pair(_v4(_V4_VIPS, pop, 1), _v6(_V6_VIPS, pop, 1))


def shared_vips(number: int) -> Pair:
    """What PoPs announce for a VIP that they share."""
    return Pair(_v4(_V4_VIPS, _SHARED + number, 0), _v6(_V6_SHARED, number, 0), _SITE)


def shared_vip(number: int) -> Pair:
    """That VIP."""
    return Pair(_v4(_V4_VIPS, _SHARED + number, 1), _v6(_V6_SHARED, number, 1))


def pop_backbone(pop: int) -> Pair:
    """What a PoP has towards regions."""
    return Pair(_v4(_V4_POPS, pop, 0), _v6(_V6_POPS, pop, 0), _SITE)


def pop_router(pop: int, uplink: int = 0) -> Pair:
    """A PoP's router, on one of the networks between it and the hosts."""
    return _in_pop(pop, uplink, 1)


def pop_host(pop: int, host: int, uplink: int = 0) -> Pair:
    """A host of a PoP on one of these."""
    return _in_pop(pop, uplink, _HOSTS + host - 1)


def pop_redis(pop: int, number: int) -> Pair:
    """A Redis in a PoP, on the first of these."""
    return _in_pop(pop, 0, _REDIS + number - 1)


def _in_pop(pop: int, uplink: int, host: int) -> Pair:
    return Pair(_v4(_V4_POPS, pop, _UPLINK * uplink + host), _v6(_V6_POPS, pop, host, uplink), _LAN)


def pop_backbones(pop: int, host: int, number: int) -> list[Pair]:
    """What a host answers transceivers from, reached by all of its uplinks."""
    first = _BACKBONES_OF_HOST * (host - 1)
    return [
        Pair(_v4(_V4_POPS, pop, _BACKBONES + n), _v6(_V6_POPS, pop, 1 + n, _V6_BACKBONES))
        for n in range(first, first + number)
    ]


def pop_service(pop: int) -> str:
    """Where regions ask a PoP how it is: whichever of its hosts is well answers."""
    return _v4(_V4_POPS, pop, _SERVICE)


def region_backbone(region: int) -> Pair:
    """What is of a region."""
    return Pair(_v4(_V4_REGIONS, region, 0), _v6(_V6_REGIONS, region, 0), _SITE)


def region_router(region: int) -> Pair:
    """Its router, on the network of its hosts."""
    return _in_region(region, 1)


def region_redis(region: int, number: int) -> Pair:
    """A Redis there."""
    return _in_region(region, _REDIS + number - 1)


def region_host(region: int, host: int) -> Pair:
    """A transceiver host there."""
    return _in_region(region, _TRANSCEIVERS + host - 1)


def region_cluster(region: int) -> Pair:
    """The prefixes that its transceiver hosts are numbered in, from 0."""
    first = region_host(region, 1)
    return Pair(first.ipv4, first.ipv6, _CLUSTER)


def _in_region(region: int, host: int) -> Pair:
    return Pair(_v4(_V4_REGIONS, region, host), _v6(_V6_REGIONS, region, host), (24, 64))


def link_local(number: int) -> str:
    """Of one end of a WAN link, 0 or 1."""
    return f"fe80::{number + 1}"

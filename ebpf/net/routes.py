"""Routes of all tables, with the legs of nexthop objects (`ip nexthop`), as the kernel has them.

A routing daemon may give many routes their legs by one object. With the sysctl
net.ipv4.nexthop_compat_mode, which is on unless someone switched it off, the kernel tells the legs with the
route as well; without, the objects are the only place where they are.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from ipaddress import IPv4Network, IPv6Network
from typing import NamedTuple

from core.addr import IpFamily, unpack_address
from ebpf.net.dump import RTM_GETNEXTHOP, RTM_GETROUTE, Attributes, attributes, dump

TABLE_MAIN, TABLE_LOCAL = 254, 255
RTN_UNICAST, RTN_THROW = 1, 9
RTM_F_CLONED = 0x200
"""An entry of the routing cache."""
RTNH_F_DEAD, RTNH_F_LINKDOWN = 1, 16
_RTA_DST, _RTA_SRC, _RTA_OIF, _RTA_GATEWAY, _RTA_PRIORITY, _RTA_MULTIPATH = 1, 2, 4, 5, 6, 9
_RTA_TABLE, _RTA_VIA, _RTA_PREF, _RTA_ENCAP_TYPE, _RTA_NH_ID = 15, 18, 20, 21, 30
_NHA_ID, _NHA_GROUP, _NHA_BLACKHOLE, _NHA_OIF, _NHA_GATEWAY, _NHA_ENCAP_TYPE = 1, 2, 4, 5, 6, 7
_ROUTE = struct.Struct("=BBBBBBBBI")
"""struct rtmsg: family, lengths of destination and source, tos, table, protocol, scope, type, flags."""
_NEXT_HOP = struct.Struct("=HBBi")
"""struct rtnexthop: length, flags, weight less one, interface."""
_OBJECT = struct.Struct("=BBBBI")
"""struct nhmsg: family, scope, protocol, reserved, flags."""
_MEMBER = struct.Struct("=IBBH")
"""struct nexthop_grp: id, weight less one, its high byte, reserved."""
_U32 = struct.Struct("=I")
_PREFERENCES = {1: 1, 3: -1}
"""RFC 4191 §2.1: two bits, as RTA_PREF has them."""


class RouteLeg(NamedTuple):
    """One leg of a route: out of an interface, to a gateway, or straight to the destination (None)."""

    link: int
    gateway: str | None
    is_up: bool
    weight: int = 1
    """Its share of the flows, beside the weights of the other legs."""
    is_plain: bool = True
    """Whether packets leave as they are; no, where the leg wraps them up (MPLS, SRv6, …)."""


class Route(NamedTuple):
    """A route; without legs it refuses on purpose (blackhole, unreachable)."""

    prefix: IPv4Network | IPv6Network
    metric: int
    legs: tuple[RouteLeg, ...]
    table: int = TABLE_MAIN
    source: IPv4Network | IPv6Network | None = None
    """Only for packets from there, which IPv6 has."""
    tos: int = 0
    """Only for packets with this type of service, which IPv4 has."""
    preference: int = 0
    """Between IPv6 routes of one metric, the greater first (RFC 4191: -1, 0, 1)."""
    is_throw: bool = False
    """Ends the look-up in its table as if there were no route."""
    nexthop_id: int | None = None
    """The nexthop object that has the legs, where the message has none."""


class NexthopObject(NamedTuple):
    """One leg, or a group of others; with neither it refuses on purpose."""

    id: int
    leg: RouteLeg | None
    members: tuple[tuple[int, int], ...]
    """(id, weight) of those in the group."""


def read_routes(family: IpFamily) -> list[Route]:
    """Those of every table but `local`, whose packets leave by no interface, in the namespace of the caller.
    Raises OSError.
    """
    messages = dump(RTM_GETROUTE, _ROUTE.pack(family.af, *[0] * 8))
    found = [route for message in messages if (route := read_route(message)) is not None]
    routes = [route for route in found if route.table != TABLE_LOCAL]
    if any(route.nexthop_id is not None for route in routes):
        objects = {
            each.id: each for each in map(read_nexthop_object, dump(RTM_GETNEXTHOP, bytes(_OBJECT.size)))
        }
        return [with_legs(route, objects) for route in routes]
    return routes


def read_route(message: bytes) -> Route | None:
    """An RTM_NEWROUTE message without its header; None for what is no route of a table."""
    af, length, source_length, tos, table, _, _, kind, flags = _ROUTE.unpack_from(message)
    if flags & RTM_F_CLONED:
        return None
    found = attributes(message, _ROUTE.size)
    network = IPv4Network if af == IpFamily.V4.af else IPv6Network
    nowhere = bytes(4 if network is IPv4Network else 16)
    legs = tuple(_legs(found, flags)) if kind == RTN_UNICAST else ()
    return Route(
        network((found.get(_RTA_DST, nowhere), length)),
        _number(found, _RTA_PRIORITY) or 0,
        legs,
        _number(found, _RTA_TABLE) or table,
        network((found.get(_RTA_SRC, nowhere), source_length)) if source_length else None,
        tos,
        _PREFERENCES.get(found.get(_RTA_PREF, b"\0")[0], 0),
        kind == RTN_THROW,
        _number(found, _RTA_NH_ID) if kind == RTN_UNICAST and not legs else None,
    )


def read_nexthop_object(message: bytes) -> NexthopObject:
    """An RTM_NEWNEXTHOP message without its header."""
    flags = _OBJECT.unpack_from(message)[4]
    found = attributes(message, _OBJECT.size)
    (number,) = _U32.unpack(found[_NHA_ID])
    if _NHA_GROUP in found:
        rows = _MEMBER.iter_unpack(found[_NHA_GROUP])
        members = tuple((member, (low | high << 8) + 1) for member, low, high, _ in rows)
        return NexthopObject(number, None, members)
    link = _number(found, _NHA_OIF)
    if _NHA_BLACKHOLE in found or link is None:
        return NexthopObject(number, None, ())
    gateway = unpack_address(found[_NHA_GATEWAY]) if _NHA_GATEWAY in found else None
    return NexthopObject(number, RouteLeg(link, gateway, _is_up(flags), 1, _NHA_ENCAP_TYPE not in found), ())


def with_legs(route: Route, objects: Mapping[int, NexthopObject]) -> Route:
    """A route with the legs of its nexthop object; of one that is gone by now it has none."""
    if route.nexthop_id is None:
        return route
    found = objects.get(route.nexthop_id)
    legs: tuple[RouteLeg, ...] = ()
    if found is not None and found.leg is not None:
        legs = (found.leg,)
    elif found is not None:
        singles = ((objects.get(member), weight) for member, weight in found.members)
        legs = tuple(
            single.leg._replace(weight=weight) for single, weight in singles if single and single.leg
        )
    return route._replace(legs=legs, nexthop_id=None)


def _legs(found: Attributes, flags: int) -> Iterator[RouteLeg]:
    """None where a nexthop object has them."""
    parts = found.get(_RTA_MULTIPATH)
    if parts is None:
        link = _number(found, _RTA_OIF)
        if link is not None:
            yield _leg(found, link, flags, 1)
        return
    at = 0
    while at + _NEXT_HOP.size <= len(parts):
        length, part_flags, hops, link = _NEXT_HOP.unpack_from(parts, at)
        yield _leg(attributes(parts[at : at + length], _NEXT_HOP.size), link, part_flags, hops + 1)
        at += max(length + 3 & ~3, _NEXT_HOP.size)


def _leg(found: Attributes, link: int, flags: int, weight: int) -> RouteLeg:
    """RTA_VIA is a gateway of the other family, behind two bytes that say which."""
    packed = found[_RTA_VIA][2:] if _RTA_VIA in found else found.get(_RTA_GATEWAY)
    gateway = None if packed is None else unpack_address(packed)
    return RouteLeg(link, gateway, _is_up(flags), weight, _RTA_ENCAP_TYPE not in found)


def _is_up(flags: int) -> bool:
    return not flags & (RTNH_F_DEAD | RTNH_F_LINKDOWN)


def _number(found: Attributes, kind: int) -> int | None:
    packed = found.get(kind)
    return None if packed is None else int(_U32.unpack(packed)[0])

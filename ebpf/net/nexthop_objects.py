"""Nexthop objects (`ip nexthop`), by which a routing daemon may give many routes their legs at once.

With the sysctl net.ipv4.nexthop_compat_mode, which is on unless someone switched it off, the kernel tells a
route's legs with the route as well; without, these are the only place where they are.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from ebpf.net.messages import RTNH_F_DEAD, RTNH_F_LINKDOWN, Message, Route, RouteLeg

_MEMBER = struct.Struct("=IBBH")
"""struct nexthop_grp: id, weight less one, its high byte, reserved."""


class NexthopObject(NamedTuple):
    """One leg, or a group of others; with neither it refuses on purpose."""

    id: int
    leg: RouteLeg | None
    members: tuple[tuple[int, int], ...]
    """(id, weight) of those in the group."""


def read_nexthop_object(message: Message) -> NexthopObject:
    """An RTM_NEWNEXTHOP message."""
    number, group = message.get_attr("NHA_ID"), message.get_attr("NHA_GROUP")
    link = message.get_attr("NHA_OIF")
    if group is not None:
        rows = _MEMBER.iter_unpack(group)
        members = tuple((member, (low | high << 8) + 1) for member, low, high, _ in rows)
        return NexthopObject(number, None, members)
    if message.get_attr("NHA_BLACKHOLE") is not None or link is None:
        return NexthopObject(number, None, ())
    is_up = not message["flags"] & (RTNH_F_DEAD | RTNH_F_LINKDOWN)
    is_plain = message.get_attr("NHA_ENCAP_TYPE") is None
    return NexthopObject(number, RouteLeg(link, message.get_attr("NHA_GATEWAY"), is_up, 1, is_plain), ())


def with_legs(route: Route, objects: Mapping[int, NexthopObject]) -> Route:
    """A route with the legs of its nexthop object; of one that is gone by now it has none."""
    if route.nexthop_id is None:
        return route
    return route._replace(legs=tuple(_legs(route.nexthop_id, objects)), nexthop_id=None)


def _legs(number: int, objects: Mapping[int, NexthopObject]) -> Iterator[RouteLeg]:
    found = objects.get(number)
    if found is None:
        return
    if found.leg is not None:
        yield found.leg
    for member, weight in found.members:
        single = objects.get(member)
        if single is not None and single.leg is not None:
            yield single.leg._replace(weight=weight)

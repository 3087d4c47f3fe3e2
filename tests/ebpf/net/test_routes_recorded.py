"""Routes and nexthop objects as the kernel told them once: what is read out of the very bytes.

So what a kernel is built without can be read too, and what it says stays what it was.
"""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

import pytest

from core.addr import IpFamily
from ebpf.net.dump import split
from ebpf.net.routes import (
    NexthopObject,
    Route,
    RouteLeg,
    read_nexthop_object,
    read_route,
    with_legs,
)
from tests.ebpf.net.recorded import NEXTHOPS, ROUTES

AA = 3
"""The interface's number at the time."""
TWO, THREE = RouteLeg(AA, "192.0.2.2", True), RouteLeg(AA, "192.0.2.3", True)
SIX = RouteLeg(AA, "fe80::1", True)
V4, V6 = IpFamily.V4, IpFamily.V6


def told(text: str) -> bytes:
    """A message without its header."""
    ((_, message),) = split(bytes.fromhex(text))
    return message


def net(prefix: str) -> Any:
    return ip_network(prefix)


@pytest.mark.parametrize(
    ("name", "route"),
    [
        ("multipath", Route(net("10.0.0.0/8"), 0, (TWO, THREE._replace(weight=3)))),
        ("nexthop object", Route(net("10.1.0.0/16"), 0, (TWO, THREE._replace(weight=3)))),
        ("nexthop object alone", Route(net("10.1.0.0/16"), 0, (), nexthop_id=10)),
        (
            "multipath six",
            Route(net("2001:db8:1::/48"), 5, (SIX._replace(weight=2), SIX._replace(gateway="fe80::2"))),
        ),
        ("for a source", Route(net("2001:db8:2::/48"), 1024, (SIX,), source=net("2001:db8:f::/48"))),
        ("preferred", Route(net("2001:db8:3::/48"), 1024, (SIX,), preference=1)),
        ("tos", Route(net("10.2.0.0/16"), 0, (TWO,), tos=0x10)),
        ("throw", Route(net("10.3.0.0/16"), 0, (), 1000, is_throw=True)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_routes(name: str, route: Route) -> None:
    read = read_route(told(ROUTES[name]))
    assert read == route


def test_legs_of_nexthop_objects() -> None:
    objects = {each.id: each for each in (read_nexthop_object(told(text)) for text in NEXTHOPS.values())}
    assert objects == {
        1: NexthopObject(1, TWO, ()),
        2: NexthopObject(2, THREE, ()),
        3: NexthopObject(3, RouteLeg(AA, "fe80::9", True), ()),
        4: NexthopObject(4, None, ()),
        10: NexthopObject(10, None, ((1, 1), (2, 3))),
    }
    route = read_route(told(ROUTES["nexthop object alone"]))
    assert route is not None
    assert with_legs(route, objects).legs == (TWO, THREE._replace(weight=3))
    for number, legs in ((1, (TWO,)), (3, (RouteLeg(AA, "fe80::9", True),)), (4, ()), (99, ())):
        assert with_legs(route._replace(nexthop_id=number), objects).legs == legs
    assert with_legs(route._replace(nexthop_id=None, legs=(TWO,)), {}).legs == (TWO,)
    del objects[2]
    assert with_legs(route, objects).legs == (TWO,), "a member that went between two questions"


def test_weights_of_more_than_a_byte() -> None:
    """As Linux 6.12 has them: a high byte where there were zeros."""
    text = NEXTHOPS["group"].replace("0200000002000000", "0200000002010000")
    assert text != NEXTHOPS["group"]
    assert read_nexthop_object(told(text)).members == ((1, 1), (2, 259))


def test_a_cached_route_is_none() -> None:
    cached = bytearray(told(ROUTES["tos"]))
    cached[9] = 0x02  # RTM_F_CLONED, 0x200, of the flags
    assert read_route(bytes(cached)) is None


def test_a_leg_that_wraps_packets_up_is_not_plain() -> None:
    """RTA_ENCAP_TYPE (21) behind the rest, as of a route into an MPLS or SRv6 path."""
    wrapped = told(ROUTES["preferred"]) + bytes.fromhex("0600150005000000")
    route = read_route(wrapped)
    assert route is not None
    assert [leg.is_plain for leg in route.legs] == [False]

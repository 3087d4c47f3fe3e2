"""Routes, nexthop objects and rules as the kernel told them once: what is read out of the very bytes.

So what a kernel is built without can be read too, and what it says stays what it was.
"""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

import pytest
from pyroute2.netlink.rtnl.marshal import MarshalRtnl

from core.addr import IpFamily
from ebpf.errors import DataplaneError
from ebpf.net.dump import attributes, split
from ebpf.net.messages import Message
from ebpf.net.routes import (
    NexthopObject,
    Route,
    RouteLeg,
    read_nexthop_object,
    read_route,
    with_legs,
)
from ebpf.net.rules import FR_ACT_GOTO, FR_ACT_TO_TBL, Rule, read_rule
from tests.ebpf.net.recorded import NEXTHOPS, ROUTES, RULES

AA = 3
"""The interface's number at the time."""
TWO, THREE = RouteLeg(AA, "192.0.2.2", True), RouteLeg(AA, "192.0.2.3", True)
SIX = RouteLeg(AA, "fe80::1", True)
V4, V6 = IpFamily.V4, IpFamily.V6


def told(text: str) -> bytes:
    """A message without its header."""
    ((_, message),) = split(bytes.fromhex(text))
    return message


def decoded(text: str) -> Message:
    """The same by pyroute2."""
    (message,) = MarshalRtnl().parse(bytes.fromhex(text))
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


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("main", Rule(V4, 32766, FR_ACT_TO_TBL, 254, 0)),
        (
            "inverted",
            Rule(
                V4, 7, FR_ACT_TO_TBL, 1000, 0, net("10.0.0.0/8"), None, True, (0x10, 0xF0),
                suppressed_length=0,
            ),
        ),
        ("ports and users", Rule(V4, 9, 6, 0, 0, others=("uidrange 0-5", "sport 10-20"))),
        ("goto", Rule(V4, 11, FR_ACT_GOTO, 0, 32766)),
        (
            "interfaces",
            Rule(
                V4, 12, FR_ACT_TO_TBL, 254, 0, incoming="aa", outgoing="bb", protocol=17, others=("tos 0x10",)
            ),
        ),
        ("l3mdev", Rule(V6, 1000, FR_ACT_TO_TBL, 0, 0, is_l3mdev=True)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_rules(name: str, rule: Rule) -> None:
    assert read_rule(decoded(RULES[name])) == rule


def test_a_selector_that_nobody_knows_yet_is_named() -> None:
    """FRA_DSCP (25) of Linux 6.13, in place of FRA_PROTOCOL."""
    text = RULES["main"].replace("0500150002000000", "0500190002000000")
    assert text != RULES["main"]
    assert read_rule(decoded(text)).others == ("a selector that is not known here",)


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


@pytest.mark.parametrize("length", [0, 3, 15])
def test_lengths_without_sense_are_refused(length: int) -> None:
    """They would be gone through for ever."""
    with pytest.raises(DataplaneError, match="without sense"):
        list(split(length.to_bytes(4, "little") + bytes(16)))
    with pytest.raises(DataplaneError, match="without sense"):
        attributes(min(length, 3).to_bytes(2, "little") + bytes(6), 0)

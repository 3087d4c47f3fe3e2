"""Rules as the kernel told them once."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

import pytest
from pyroute2.netlink.rtnl.marshal import MarshalRtnl

from core.addr import IpFamily
from ebpf.net.messages import Message
from ebpf.net.rules import FR_ACT_GOTO, FR_ACT_TO_TBL, Rule, read_rule
from tests.ebpf.net.recorded import RULES

V4, V6 = IpFamily.V4, IpFamily.V6


def decoded(text: str) -> Message:
    """As pyroute2 gives it."""
    (message,) = MarshalRtnl().parse(bytes.fromhex(text))
    return message


def net(prefix: str) -> Any:
    return ip_network(prefix)


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

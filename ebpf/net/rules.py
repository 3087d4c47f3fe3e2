"""Routing rules (`ip rule`): which table is asked for which packets."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import NamedTuple

from core.addr import IpFamily
from ebpf.net.messages import Message

FR_ACT_TO_TBL, FR_ACT_GOTO, FR_ACT_NOP = 1, 2, 3
"""linux/fib_rules.h; the others refuse."""
FIB_RULE_INVERT = 2
NO_LENGTH = 0xFFFFFFFF
_UNREAD = {
    "FRA_TUN_ID": "tun_id",
    "FRA_UID_RANGE": "uidrange",
    "FRA_SPORT_RANGE": "sport",
    "FRA_DPORT_RANGE": "dport",
}


class Rule(NamedTuple):
    """A rule; selectors that are None choose nothing."""

    family: IpFamily
    priority: int
    action: int
    table: int
    goto: int
    source: IPv4Network | IPv6Network | None = None
    destination: IPv4Network | IPv6Network | None = None
    is_inverted: bool = False
    """For packets that its selectors do not choose."""
    mark: tuple[int, int] | None = None
    """(mark, mask)"""
    incoming: str | None = None
    outgoing: str | None = None
    protocol: int | None = None
    """IP protocol."""
    suppressed_length: int | None = None
    """Routes with prefixes of this length or a shorter one are none."""
    is_l3mdev: bool = False
    """Asks the table of the VRF that a packet comes by or leaves by, if there is one."""
    others: tuple[str, ...] = ()
    """What else it chooses by, for people: selectors that are not read."""


def read_rule(message: Message) -> Rule:
    """An RTM_NEWRULE message."""
    family = IpFamily.V4 if message["family"] == IpFamily.V4.af else IpFamily.V6
    mark, mask = message.get_attr("FRA_FWMARK"), message.get_attr("FRA_FWMASK")
    length = message.get_attr("FRA_SUPPRESS_PREFIXLEN")
    return Rule(
        family,
        message.get_attr("FRA_PRIORITY") or 0,
        message["action"],
        message.get_attr("FRA_TABLE") or message["table"],
        message.get_attr("FRA_GOTO") or 0,
        _prefix(message.get_attr("FRA_SRC"), message["src_len"]),
        _prefix(message.get_attr("FRA_DST"), message["dst_len"]),
        bool(message["flags"] & FIB_RULE_INVERT),
        None if not mark and not mask else (mark or 0, 0xFFFFFFFF if mask is None else mask),
        message.get_attr("FRA_IIFNAME"),
        message.get_attr("FRA_OIFNAME"),
        message.get_attr("FRA_IP_PROTO"),
        None if length in (None, NO_LENGTH) else length,
        bool(message.get_attr("FRA_L3MDEV")),
        tuple(_others(message)),
    )


def _prefix(host: str | None, length: int) -> IPv4Network | IPv6Network | None:
    return ip_network(f"{host}/{length}", strict=False) if host and length else None


def _others(message: Message) -> Iterator[str]:
    if message["tos"]:
        yield f"tos {message['tos']:#x}"
    group = message.get_attr("FRA_SUPPRESS_IFGROUP")
    if group not in (None, NO_LENGTH):
        yield f"suppress_ifgroup {group}"
    for name, word in _UNREAD.items():
        value = message.get_attr(name)
        if value is not None:
            yield f"{word} {str(value).replace(':', '-')}"
    # Those of kernels newer than pyroute2: which packets they choose cannot be known.
    unknown = [name for name, _ in message["attrs"] if name == "UNKNOWN"]
    if unknown:
        yield "a selector that is not known here"

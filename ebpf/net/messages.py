"""What rtnetlink says, as values: interfaces, addresses and neighbours of a host.

The one reader of its messages, whoever has asked for them: `snapshot` follows them on an event loop, `attach`
looks at an interface before it changes it. Numbers of links are the kernel's (ifindex).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any, NamedTuple

IFF_UP, IFF_LOWER_UP = 1 << 0, 1 << 16
"""linux/if.h"""
ARPHRD_ETHER = 1
NUD_FAILED = 0x20
NUD_NOARP, NUD_PERMANENT = 0x40, 0x80
NTF_EXT_LEARNED, NTF_EXT_MANAGED = 0x10, 0x01
"""linux/neighbour.h; the second is of NDA_FLAGS_EXT."""
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
NUD_VALID = 0x02 | 0x04 | 0x08 | 0x10 | 0x40 | 0x80
"""The kernel's word for the states in which a neighbour's MAC is good to send to (linux/neighbour.h)."""
ETH_P_8021Q = 0x8100


class Link(NamedTuple):
    """An interface."""

    number: int
    name: str
    mac: bytes
    """6 bytes for Ethernet; other kinds of interface have other lengths, or none."""
    mtu: int
    is_up: bool
    """Switched on, and with a carrier."""
    is_ethernet: bool
    kind: str
    """`veth`, `vlan`, …; empty for hardware."""
    parent: int | None
    """The interface that it is on top of."""
    vlan: tuple[int, int] | None
    """(type, number) of the tag that it adds, for a VLAN interface."""
    xdp_program: int | None
    """Id of the XDP program that it runs."""
    master: int | None = None
    """The bond, bridge or VRF that it is a part of."""


class Neighbour(NamedTuple):
    """What the kernel knows of a host on a link."""

    link: int
    host: str
    mac: bytes | None
    """None where it is not known, or found to be gone."""
    is_failed: bool
    is_static: bool = False
    """Set by an operator or a routing daemon, or kept by the kernel itself: not to be asked for."""
    unconfirmed_s: float = 0.0
    """How long ago it last answered."""


Message = Any
"""pyroute2 has no types. Its messages are mappings, with attributes by `get_attr`, None for an absent one."""


def read_link(message: Message) -> Link:
    """An RTM_NEWLINK message."""
    vlan_id = attribute(message, "IFLA_LINKINFO", "IFLA_INFO_DATA", "IFLA_VLAN_ID")
    protocol = attribute(message, "IFLA_LINKINFO", "IFLA_INFO_DATA", "IFLA_VLAN_PROTOCOL")
    flags = message["flags"]
    return Link(
        number=message["index"],
        name=message.get_attr("IFLA_IFNAME"),
        mac=_mac(message.get_attr("IFLA_ADDRESS")),
        mtu=message.get_attr("IFLA_MTU") or 0,
        is_up=bool(flags & IFF_UP and flags & IFF_LOWER_UP),
        is_ethernet=message["ifi_type"] == ARPHRD_ETHER,
        kind=attribute(message, "IFLA_LINKINFO", "IFLA_INFO_KIND") or "",
        parent=message.get_attr("IFLA_LINK"),
        vlan=None if vlan_id is None else (protocol or ETH_P_8021Q, vlan_id),
        xdp_program=attribute(message, "IFLA_XDP", "IFLA_XDP_PROG_ID"),
        master=message.get_attr("IFLA_MASTER"),
    )


def read_address(message: Message) -> str:
    """An RTM_NEWADDR message: the address that is ours, where the link has two ends and names both."""
    return str(message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS"))


def read_on_link(message: Message) -> Iterator[IPv4Network | IPv6Network]:
    """The same message: the prefix that its link leads to, and our own address, which of a link with two ends
    is not in it.
    """
    far = message.get_attr("IFA_ADDRESS") or read_address(message)
    yield ip_network(f"{far}/{message['prefixlen']}", strict=False)
    yield ip_network(read_address(message))


def read_neighbour(message: Message) -> Neighbour | None:
    """An RTM_NEWNEIGH message; None for an entry of a bridge, which is of no host."""
    host = message.get_attr("NDA_DST")
    if host is None:
        return None
    state = message["state"]
    mac = _mac(message.get_attr("NDA_LLADDR")) if state & NUD_VALID else None
    is_static = bool(
        state & (NUD_NOARP | NUD_PERMANENT)
        or message["flags"] & NTF_EXT_LEARNED
        or (message.get_attr("NDA_FLAGS_EXT") or 0) & NTF_EXT_MANAGED
    )
    times = message.get_attr("NDA_CACHEINFO")
    unconfirmed_s = 0.0 if times is None else times["ndm_confirmed"] / _TICKS_PER_S
    return Neighbour(
        message["ifindex"], host, mac or None, bool(state & NUD_FAILED), is_static, unconfirmed_s
    )


def attribute(message: Message, *path: str) -> Any:  # noqa: ANN401 - pyroute2 has no types
    """An attribute within attributes; None where one on the path is absent."""
    for name in path:
        message = None if message is None else message.get_attr(name)
    return message


def _mac(text: str | None) -> bytes:
    return bytes.fromhex(text.replace(":", "")) if text else b""

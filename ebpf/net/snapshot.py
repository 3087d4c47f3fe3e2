"""Following what the network of this host is: interfaces, routes and neighbours, over netlink.

What the kernel says is read as whole tables, and a change only tells that it is time to read again. So a
notification that was lost costs nothing, and there is one way in which a state comes about.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
from collections.abc import AsyncIterator, Iterable
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any, NamedTuple, Self

from ebpf.errors import DataplaneError
from ebpf.net.netlink import IFF_LOWER_UP, IFF_UP, AsyncIPRoute, NetlinkError, ndmsg, rtnl

ARPHRD_ETHER = 1
TABLE_MAIN = 254
RTN_UNICAST = 1
RTM_F_CLONED = 0x200
"""An entry of the routing cache."""
RTNH_F_DEAD, RTNH_F_LINKDOWN = 1, 16
NUD_FAILED = 0x20
NUD_VALID = 0x02 | 0x04 | 0x08 | 0x10 | 0x40 | 0x80
"""The kernel's word for the states in which a neighbour's MAC is good to send to (linux/neighbour.h)."""
PAUSE_S, STORM_PAUSE_S = 0.005, 0.1
"""Before more changes are read: as a rule, and where there is no end of them."""
_FAMILIES = {4: 2, 6: 10}
_GROUPS = (
    rtnl.RTMGRP_LINK
    | rtnl.RTMGRP_NEIGH
    | rtnl.RTMGRP_IPV4_ROUTE
    | rtnl.RTMGRP_IPV6_ROUTE
    | rtnl.RTMGRP_IPV4_IFADDR
    | rtnl.RTMGRP_IPV6_IFADDR
)


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


class Address(NamedTuple):
    """An address of this host."""

    link: int
    host: str
    prefix_length: int


class RouteLeg(NamedTuple):
    """One leg of a route: out of an interface, to a gateway, or straight to the destination (None)."""

    link: int
    gateway: str | None
    is_up: bool


class Route(NamedTuple):
    """A route of the main table; without hops it leads nowhere on purpose (blackhole, unreachable)."""

    prefix: IPv4Network | IPv6Network
    metric: int
    legs: tuple[RouteLeg, ...]


class Neighbour(NamedTuple):
    """What the kernel knows of a host on a link."""

    link: int
    host: str
    mac: bytes | None
    """None where it is not known, or found to be gone."""
    is_failed: bool


class Network(NamedTuple):
    """All of it, as read at about one time."""

    links: dict[int, Link]
    """By number."""
    routes: tuple[Route, ...]
    neighbours: dict[tuple[int, str], Neighbour]
    """By link and host."""

    def link_named(self, name: str) -> Link | None:
        """The interface of that name."""
        return next((link for link in self.links.values() if link.name == name), None)


class Netlink:
    """A netlink socket in the network namespace of the caller. Use as an async context manager."""

    def __init__(self) -> None:
        self._route: Any = AsyncIPRoute()

    async def __aenter__(self) -> Self:
        await self._route.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._route.close()

    async def links(self) -> dict[int, Link]:
        """Every interface, by number (ifindex)."""
        found = [_link(message) async for message in await self._route.get_links()]
        return {link.number: link for link in found}

    async def addresses(self) -> list[Address]:
        """Every address of this host."""
        return [
            Address(m["index"], m.get_attr("IFA_LOCAL") or m.get_attr("IFA_ADDRESS"), m["prefixlen"])
            async for m in await self._route.get_addr()
        ]

    async def network(self) -> Network:
        """Interfaces, routes and neighbours."""
        links = await self.links()
        routes: list[Route] = []
        neighbours: dict[tuple[int, str], Neighbour] = {}
        for family in _FAMILIES.values():
            dump = await self._route.get_routes(family=family, table=TABLE_MAIN)
            routes += [route async for message in dump if (route := _route(message)) is not None]
            async for message in await self._route.get_neighbours(family=family):
                neighbour = _neighbour(message)
                if neighbour is not None:
                    neighbours[neighbour.link, neighbour.host] = neighbour
        return Network(links, tuple(routes), neighbours)

    async def resolve(self, link: int, host: str) -> None:
        """Let the kernel ask for a host's MAC, or whether it is still good, as if it had a packet to send.

        Raises DataplaneError without CAP_NET_ADMIN. An interface that is gone or down is no error.
        """
        who = {"dst": host, "ifindex": link, "family": _FAMILIES[6 if ":" in host else 4]}
        try:
            await self._route.neigh("set", **who, flags=ndmsg.NTF_USE, state=0)
        except NetlinkError as error:
            if error.code in (errno.EPERM, errno.EACCES):
                raise DataplaneError("no right to resolve neighbours: CAP_NET_ADMIN is needed") from None

    async def changes(self) -> AsyncIterator[None]:
        """Yields whenever something may have changed since the last time; takes a socket of its own.

        Changes that come while the caller is busy are told once.
        """
        happened = asyncio.Event()
        async with AsyncIPRoute() as listener:
            await listener.bind(groups=_GROUPS)
            happened.set()  # whatever was read before may be old already
            listening = asyncio.create_task(_listen(listener, happened))
            try:
                while True:
                    await happened.wait()
                    happened.clear()
                    yield
            finally:
                listening.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await listening


async def _listen(listener: Any, happened: asyncio.Event) -> None:  # noqa: ANN401 - pyroute2 has no types
    """Tells of each batch of messages at once, unless one follows upon the other."""
    now, pause_s = asyncio.get_running_loop().time, PAUSE_S
    while True:
        asked_at = now()
        with contextlib.suppress(OSError):  # ENOBUFS: some were lost, which is a change like another
            async for _ in listener.get():
                happened.set()
        happened.set()
        pause_s = PAUSE_S if now() - asked_at > pause_s else min(2 * pause_s, STORM_PAUSE_S)
        await asyncio.sleep(pause_s)


def _mac(text: str | None) -> bytes:
    return bytes.fromhex(text.replace(":", "")) if text else b""


def _attribute(message: Any, *path: str) -> Any:  # noqa: ANN401 - pyroute2 has no types
    for name in path:
        message = None if message is None else message.get_attr(name)
    return message


def _link(message: Any) -> Link:  # noqa: ANN401 - pyroute2 has no types
    vlan_id = _attribute(message, "IFLA_LINKINFO", "IFLA_INFO_DATA", "IFLA_VLAN_ID")
    protocol = _attribute(message, "IFLA_LINKINFO", "IFLA_INFO_DATA", "IFLA_VLAN_PROTOCOL")
    flags = message["flags"]
    return Link(
        number=message["index"],
        name=message.get_attr("IFLA_IFNAME"),
        mac=_mac(message.get_attr("IFLA_ADDRESS")),
        mtu=message.get_attr("IFLA_MTU") or 0,
        is_up=bool(flags & IFF_UP and flags & IFF_LOWER_UP),
        is_ethernet=message["ifi_type"] == ARPHRD_ETHER,
        kind=_attribute(message, "IFLA_LINKINFO", "IFLA_INFO_KIND") or "",
        parent=message.get_attr("IFLA_LINK"),
        vlan=None if vlan_id is None else (protocol or 0x8100, vlan_id),
        xdp_program=_attribute(message, "IFLA_XDP", "IFLA_XDP_PROG_ID"),
    )


def _route(message: Any) -> Route | None:  # noqa: ANN401 - pyroute2 has no types
    if message["flags"] & RTM_F_CLONED:
        return None
    any_host = "0.0.0.0" if message["family"] == _FAMILIES[4] else "::"  # noqa: S104 - a prefix
    prefix = ip_network(f"{message.get_attr('RTA_DST') or any_host}/{message['dst_len']}")
    hops = tuple(_legs(message)) if message["type"] == RTN_UNICAST else ()
    return Route(prefix, message.get_attr("RTA_PRIORITY") or 0, hops)


def _legs(message: Any) -> Iterable[RouteLeg]:  # noqa: ANN401 - pyroute2 has no types
    parts = message.get_attr("RTA_MULTIPATH")
    if parts is None:
        yield _leg(message, message.get_attr("RTA_OIF"))
        return
    for part in parts:
        yield _leg(part, part["oif"])


def _leg(part: Any, link: int) -> RouteLeg:  # noqa: ANN401 - pyroute2 has no types
    via = part.get_attr("RTA_VIA")
    gateway = via["addr"] if via else part.get_attr("RTA_GATEWAY")
    return RouteLeg(link, gateway, not part["flags"] & (RTNH_F_DEAD | RTNH_F_LINKDOWN))


def _neighbour(message: Any) -> Neighbour | None:  # noqa: ANN401 - pyroute2 has no types
    host = message.get_attr("NDA_DST")
    if host is None:
        return None
    state = message["state"]
    mac = _mac(message.get_attr("NDA_LLADDR")) if state & NUD_VALID else None
    return Neighbour(message["ifindex"], host, mac or None, bool(state & NUD_FAILED))

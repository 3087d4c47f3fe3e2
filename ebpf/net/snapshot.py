"""Following what the network of this host is: interfaces, routes, rules and neighbours, over netlink.

What the kernel says is read as whole tables, and a change only tells that it is time to read again. So a
notification that was lost costs nothing, and a state comes about by one path of code.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
from collections.abc import AsyncIterator
from typing import Any, NamedTuple, Self

from core.addr import IpFamily, family_of
from ebpf.errors import DataplaneError
from ebpf.net.messages import Link, Neighbour, read_link, read_neighbour
from ebpf.net.netlink import AsyncIPRoute, NetlinkError, ndmsg, rtnl
from ebpf.net.routes import Route, read_routes
from ebpf.net.rules import Rule, read_rule
from ebpf.net.solicit import Solicitor

PAUSE_S, STORM_PAUSE_S = 0.005, 0.1
"""Before more changes are read: as a rule, and where there is no end of them."""
_OF_NEIGHBOURS = (rtnl.RTM_NEWNEIGH, rtnl.RTM_DELNEIGH)
_GROUPS = (
    rtnl.RTMGRP_LINK
    | rtnl.RTMGRP_NEIGH
    | rtnl.RTMGRP_IPV4_ROUTE
    | rtnl.RTMGRP_IPV6_ROUTE
    | rtnl.RTMGRP_IPV4_IFADDR
    | rtnl.RTMGRP_IPV6_IFADDR
    | rtnl.RTMGRP_IPV4_RULE
    | rtnl.RTMGRP_IPV6_RULE
    | 1 << 31  # RTNLGRP_NEXTHOP, 32
)


class Network(NamedTuple):
    """All of it, as read at about one time."""

    links: dict[int, Link]
    """By number."""
    routes: tuple[Route, ...]
    """Of every table but `local`, whose packets leave this host by no interface."""
    neighbours: dict[tuple[int, str], Neighbour]
    """By link and host."""
    rules: tuple[Rule, ...] = ()
    """In the order in which the kernel asks them; of a kernel without rules there are none."""

    def link_named(self, name: str) -> Link | None:
        """The interface of that name."""
        return next((link for link in self.links.values() if link.name == name), None)


class Netlink:
    """A netlink socket in the network namespace of the caller. Use as an async context manager."""

    def __init__(self) -> None:
        self._route: Any = AsyncIPRoute()
        self._solicitor = Solicitor()

    async def __aenter__(self) -> Self:
        await self._route.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._route.close()
        self._solicitor.close()

    async def network(self) -> Network:
        """Interfaces, routes, rules and neighbours."""
        return await read_network(self._route)

    async def resolve(self, link: Link, host: str, known: Neighbour | None) -> None:
        """Ask for a host's MAC, or whether it is still good; `known` is what the kernel has of it.

        No entry that is there is written to, and one that is static is not asked for. Raises DataplaneError
        without CAP_NET_ADMIN. An interface that is gone or down is no error.
        """
        if known is None:
            await self._create(link.number, host)
        elif not known.is_static:
            self._solicitor.ask(link, host, has_mac=known.mac is not None)

    async def _create(self, link: int, host: str) -> None:
        """Have the kernel make an entry and ask, as if it had a packet to send; but not write to another
        (NLM_F_EXCL), which may have come since and be an operator's.
        """
        who = {"dst": host, "ifindex": link, "family": family_of(host).af}
        try:
            await self._route.neigh("add", **who, flags=ndmsg.NTF_USE, state=0)
        except NetlinkError as error:
            if error.code in (errno.EPERM, errno.EACCES):
                raise DataplaneError("no right to resolve neighbours: CAP_NET_ADMIN is needed") from None

    async def changes(self) -> AsyncIterator[bool]:
        """Yields whenever something may have changed since the last time, and whether it was something else
        than a neighbour; takes a socket of its own.

        Changes that come while the caller is busy are told once.
        """
        happened = _Changes()
        async with AsyncIPRoute() as listener:
            await listener.bind(groups=_GROUPS)
            happened.note(is_neighbour=False)  # whatever was read before may be old already
            listening = asyncio.create_task(_listen(listener, happened))
            try:
                while True:
                    yield await happened.next()
            finally:
                listening.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await listening


class _Changes:
    """What has happened and was not told yet."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self._is_more = False

    def note(self, *, is_neighbour: bool) -> None:
        """Something has changed."""
        self._is_more |= not is_neighbour
        self._event.set()

    async def next(self) -> bool:
        """Wait for something; whether it was more than neighbours."""
        await self._event.wait()
        self._event.clear()
        is_more, self._is_more = self._is_more, False
        return is_more


async def _listen(listener: Any, happened: _Changes) -> None:  # noqa: ANN401 - pyroute2 has no types
    """Tells of each batch of messages at once, unless one follows upon the other."""
    now, pause_s = asyncio.get_running_loop().time, PAUSE_S
    while True:
        asked_at = now()
        try:
            async for message in listener.get():
                happened.note(is_neighbour=message["header"]["type"] in _OF_NEIGHBOURS)
        except OSError:  # ENOBUFS: some were lost, which is a change like another
            happened.note(is_neighbour=False)
        pause_s = PAUSE_S if now() - asked_at > pause_s else min(2 * pause_s, STORM_PAUSE_S)
        await asyncio.sleep(pause_s)


async def read_network(netlink: Any) -> Network:  # noqa: ANN401 - pyroute2 has no types
    """What there is, by an open AsyncIPRoute of the namespace that the caller is in; no rights are needed."""
    links = {(link := read_link(m)).number: link async for m in await netlink.get_links()}
    routes: list[Route] = []
    rules: list[Rule] = []
    neighbours: dict[tuple[int, str], Neighbour] = {}
    for family in IpFamily:
        routes += read_routes(family)
        with contextlib.suppress(NetlinkError):  # a kernel that has none
            rules += [read_rule(message) async for message in await netlink.get_rules(family=family.af)]
        async for message in await netlink.get_neighbours(family=family.af):
            neighbour = read_neighbour(message)
            if neighbour is not None:
                neighbours[neighbour.link, neighbour.host] = neighbour
    return Network(links, tuple(routes), neighbours, tuple(rules))

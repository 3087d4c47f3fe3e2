"""Interfaces, their addresses, and putting a program on one."""

from __future__ import annotations

import errno
import logging
import os
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network
from types import TracebackType
from typing import Any, NamedTuple, Self

from core.addr import IpFamily
from ebpf.errors import AttachError, DataplaneError
from ebpf.net.messages import Link, attribute, read_address, read_link, read_on_link
from ebpf.net.netlink import IPRoute, NetlinkError
from ebpf.net.netns import inside
from ebpf.net.routes import TABLE_MAIN, Route, read_routes

log = logging.getLogger("voxpop.netdev")

# linux/if_link.h
_FLAG_IF_ABSENT, _FLAG_GENERIC, _FLAG_NATIVE, _FLAG_REPLACE = 1, 2, 4, 16
_ATTACHED_NATIVE, _ATTACHED_GENERIC = "xdp", "xdpgeneric"
_DRIVER_REFUSES = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOMEM, errno.ERANGE, errno.E2BIG, errno.ENOSPC)


class Mode(StrEnum):
    """Where XDP runs."""

    NATIVE = "native"
    """In the driver, before a packet costs anything."""
    GENERIC = "generic"
    """In the network stack, on any interface: correct, and several times slower."""


class Attachment(NamedTuple):
    """A program on an interface."""

    mode: Mode
    program_id: int


class Netdev:
    """A netlink connection; `netns` names a network namespace other than our own. A context manager."""

    def __init__(self, netns: str | None = None) -> None:
        self._netns = netns
        self._route = IPRoute(netns=netns) if netns else IPRoute()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._route.close()

    def links(self) -> list[Link]:
        """Every interface."""
        return [read_link(message) for message in self._route.get_links()]

    def link(self, name: str) -> Link:
        """The interface of a name. Raises DataplaneError, which lists those that there are."""
        return read_link(self._message(name))

    def addresses(self, link: int) -> list[str]:
        """The IPv4 and IPv6 addresses of an interface, which is given by its number (ifindex)."""
        return [read_address(message) for message in self._route.get_addr(index=link)]

    def prefixes(self) -> set[IPv4Network | IPv6Network]:
        """All that this host has addresses in, and has routes to in any table, default routes included."""
        found = {network for message in self._route.get_addr() for network in read_on_link(message)}
        with inside(self._netns):
            found |= {route.prefix for family in IpFamily for route in read_routes(family)}
        return found

    def routes(self) -> list[Route]:
        """Those of the main table, of both families."""
        with inside(self._netns):
            found = [route for family in IpFamily for route in read_routes(family)]
        return [route for route in found if route.table == TABLE_MAIN]

    def attached(self, name: str) -> Attachment | None:
        """The XDP program of an interface."""
        message = self._message(name)
        state = attribute(message, "IFLA_XDP", "IFLA_XDP_ATTACHED")
        if state is None:
            return None
        program_id = attribute(message, "IFLA_XDP", "IFLA_XDP_PROG_ID")
        if state == _ATTACHED_NATIVE:
            return Attachment(Mode.NATIVE, program_id)
        if state == _ATTACHED_GENERIC:
            return Attachment(Mode.GENERIC, program_id)
        raise AttachError(
            f"{name} has an XDP program in mode {state}, which is none that we attach in: "
            f"`ip link set dev {name} xdp off` removes it"
        )

    def attach(self, name: str, program_fd: int, *, mode: Mode | None = None) -> Mode:
        """Put a program on an interface that has none; the mode that it runs in.

        Without `mode`, native, and generic with a warning where the driver refuses. Raises AttachError.
        """
        if mode is not None:
            self._set(name, program_fd, mode, None)
            return mode
        try:
            self._set(name, program_fd, Mode.NATIVE, None)
        except AttachError as error:
            refusal = error.__cause__
            if not isinstance(refusal, NetlinkError) or refusal.code not in _DRIVER_REFUSES:
                raise
            log.warning(
                "%s: the driver refuses native XDP (%s); generic mode works, at several times the cost per "
                "packet. Drivers want spare queues and an MTU below a page: docs/fastpath.md",
                name,
                os.strerror(refusal.code),
            )
            self._set(name, program_fd, Mode.GENERIC, None)
            return Mode.GENERIC
        return Mode.NATIVE

    def replace(self, name: str, program_fd: int, running_fd: int) -> Mode:
        """Put a program in the place of the one that runs, in its mode, without a packet in between.

        Raises AttachError when another than `running_fd` runs.
        """
        attachment = self.attached(name)
        if attachment is None:
            raise AttachError(f"{name} has no XDP program to replace")
        self._set(name, program_fd, attachment.mode, running_fd)
        return attachment.mode

    def detach(self, name: str, running_fd: int) -> bool:
        """Take our program off an interface; False where there is none. Raises AttachError for another's."""
        attachment = self.attached(name)
        if attachment is None:
            return False
        self._set(name, -1, attachment.mode, running_fd)
        return True

    def _set(self, name: str, program_fd: int, mode: Mode, expected_fd: int | None) -> None:
        flags = _FLAG_NATIVE if mode == Mode.NATIVE else _FLAG_GENERIC
        attributes: list[tuple[str, int]] = [("IFLA_XDP_FD", program_fd)]
        if expected_fd is None:
            flags |= _FLAG_IF_ABSENT
        else:
            flags |= _FLAG_REPLACE
            attributes.append(("IFLA_XDP_EXPECTED_FD", expected_fd))
        attributes.append(("IFLA_XDP_FLAGS", flags))
        index = self._message(name)["index"]
        try:
            self._route.link("set", index=index, IFLA_XDP={"attrs": attributes})
        except NetlinkError as error:
            raise _refused(name, mode, expected_fd, error) from error

    def _message(self, name: str) -> Any:  # noqa: ANN401 - pyroute2 has no types
        indexes = self._route.link_lookup(ifname=name)
        if not indexes:
            known = ", ".join(link.name for link in self.links())
            raise DataplaneError(f"there is no interface {name}; there are {known}")
        return next(iter(self._route.get_links(indexes[0])))


def _refused(name: str, mode: Mode, expected_fd: int | None, error: NetlinkError) -> AttachError:
    if error.code in (errno.EBUSY, errno.EEXIST):
        if expected_fd is None:
            hint = "it has an XDP program already"
        else:
            hint = "another XDP program than ours runs there"
        return AttachError(f"{name}: {hint}; `ip link set dev {name} xdp off` removes it")
    if error.code == errno.EPERM:
        return AttachError(f"{name}: no right to attach; CAP_NET_ADMIN is needed")
    return AttachError(
        f"{name} refuses the program in {mode} mode: {os.strerror(error.code)}; `dmesg` may say why"
    )

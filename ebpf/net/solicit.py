"""Asking a host on a link for its MAC by packets of our own, whatever the kernel holds of it.

The kernel's way of being told to ask, RTM_NEWNEIGH with NTF_USE, writes to the entry: it takes NUD_PERMANENT,
NTF_EXT_LEARNED and NTF_MANAGED away, so that a MAC which an operator has set is lost by a question. A packet
writes nothing. Its answer reaches the kernel like any other: that takes it for the entries which it may
change, and tells of it by netlink.
"""

from __future__ import annotations

import errno
import socket
import struct
from types import TracebackType
from typing import Self

from core.addr import IpFamily, family_of, pack_address
from ebpf.errors import DataplaneError
from ebpf.net.messages import Link

ETH_P_ARP = 0x0806
_ARP = struct.Struct("!HHBBH6s4s6s4s")
_ARP_ETHERNET, _ARP_IPV4, _ARP_REQUEST = 1, 0x0800, 1
_BROADCAST = b"\xff" * 6
_NEIGHBOUR_SOLICITATION, _OPTION_SOURCE_MAC = 135, 1
_ICMP6_FILTER = 1
_HOP_LIMIT = 255
"""RFC 4861 §7.1.1: another is not believed."""
_NOT_NOW = (
    errno.ENETDOWN,
    errno.ENXIO,
    errno.ENODEV,
    errno.ENETUNREACH,
    errno.EHOSTUNREACH,
    errno.EADDRNOTAVAIL,
    errno.EINVAL,
    errno.ENOBUFS,
    errno.EAGAIN,
    errno.EPERM,
)
"""The interface is down, gone or without an address, or a filter of the host forbids it: as if unanswered."""


def arp_request(own_mac: bytes, own_host: str, host: str) -> bytes:
    """An ARP request (RFC 826) without its Ethernet header; 6-byte MAC, IPv4 addresses."""
    own, wanted = pack_address(own_host), pack_address(host)
    return _ARP.pack(_ARP_ETHERNET, _ARP_IPV4, 6, 4, _ARP_REQUEST, own_mac, own, bytes(6), wanted)


def neighbour_solicitation(own_mac: bytes, host: str) -> bytes:
    """A neighbour solicitation (RFC 4861 §4.3), of which the kernel makes the checksum."""
    head = struct.pack("!BBHI", _NEIGHBOUR_SOLICITATION, 0, 0, 0)
    return head + pack_address(host) + bytes([_OPTION_SOURCE_MAC, 1]) + own_mac


def solicited_node(host: str) -> str:
    """The multicast group that whoever has an IPv6 address listens to (RFC 4291 §2.7.1)."""
    return socket.inet_ntop(
        socket.AF_INET6, bytes.fromhex("ff0200000000000000000001ff") + pack_address(host)[13:]
    )


class Solicitor:
    """The sockets to ask by, in the network namespace of the caller; they receive nothing. A context manager.

    Raises DataplaneError without CAP_NET_RAW.
    """

    def __init__(self) -> None:
        try:
            self._arp = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, 0)
            self._icmp = self._open_icmp()
        except PermissionError:
            raise DataplaneError("no right to ask for neighbours: CAP_NET_RAW is needed") from None

    def _open_icmp(self) -> socket.socket | None:
        """None on a host without IPv6."""
        try:
            opened = socket.socket(
                socket.AF_INET6, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.IPPROTO_ICMPV6
            )
        except OSError as error:
            if error.errno in (errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT):
                return None
            self._arp.close()
            raise
        opened.setsockopt(socket.IPPROTO_ICMPV6, _ICMP6_FILTER, b"\xff" * 32)
        for option in (socket.IPV6_UNICAST_HOPS, socket.IPV6_MULTICAST_HOPS):
            opened.setsockopt(socket.IPPROTO_IPV6, option, _HOP_LIMIT)
        opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, 0)
        return opened

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the sockets."""
        self._arp.close()
        if self._icmp is not None:
            self._icmp.close()

    def ask(self, link: Link, host: str, *, has_mac: bool) -> None:
        """Ask everybody on a link who has an address. `has_mac`: the kernel knows one, which may be old."""
        if not link.is_ethernet or len(link.mac) != 6:
            return
        try:
            if family_of(host) is IpFamily.V4:
                self._ask_by_arp(link, host)
            else:
                self._ask_by_icmp(link, host, has_mac=has_mac)
        except OSError as error:
            if error.errno not in _NOT_NOW:
                raise

    def _ask_by_arp(self, link: Link, host: str) -> None:
        request = arp_request(link.mac, _own_host(link, host), host)
        self._arp.sendto(request, (link.name, ETH_P_ARP, 0, _ARP_ETHERNET, _BROADCAST))

    def _ask_by_icmp(self, link: Link, host: str, *, has_mac: bool) -> None:
        """Without a MAC to the address itself, which has the kernel ask anew: it takes no answer for an entry
        that it has given up.
        """
        if self._icmp is None:
            return
        where = bytes(16) + struct.pack("=I", link.number)
        to = solicited_node(host) if has_mac else host
        is_local = to.startswith(("fe8", "fe9", "fea", "feb", "ff"))
        self._icmp.sendmsg(
            [neighbour_solicitation(link.mac, host)],
            [(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, where)],
            0,
            (to, 0, 0, link.number if is_local else 0),
        )


def _own_host(link: Link, host: str) -> str:
    """The address that packets to a host leave from; of a link without one none, as in RFC 5227 §1.1."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, link.name.encode())
            probe.connect((host, 9))
        except OSError:
            return "0.0.0.0"  # noqa: S104 - of a packet
        own: str = probe.getsockname()[0]
    return own

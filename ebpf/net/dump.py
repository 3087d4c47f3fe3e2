"""Whole tables of the kernel's routing, as rtnetlink dumps them, read by structure.

pyroute2 takes a millisecond for a route, which is long where a thousand of them change under live flows, and
knows nothing of nexthop objects. So what there may be many of is read here.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from typing import TypeAlias

from ebpf.errors import DataplaneError

RTM_GETROUTE, RTM_GETNEXTHOP = 26, 106
"""linux/rtnetlink.h"""
NLMSG_ERROR, NLMSG_DONE = 2, 3
_REQUEST_DUMP = 0x301
"""NLM_F_REQUEST | NLM_F_DUMP of linux/netlink.h"""
_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_TYPE_MASK = 0x3FFF
"""Above are flags: nested, in network order."""
_ERRNO = struct.Struct("=i")
_RECEIVE_BYTES = 1 << 16
"""More than the kernel puts into one part of a dump."""

Attributes: TypeAlias = dict[int, bytes]


def request(kind: int, body: bytes) -> bytes:
    """Asks for all of a kind; `body` is the fixed part of its messages."""
    return _HEADER.pack(_HEADER.size + len(body), kind, _REQUEST_DUMP, 1, 0) + body


def split(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(type, what is behind the header) of each message of a part of a dump."""
    at = 0
    while at + _HEADER.size <= len(data):
        length, kind, _, _, _ = _HEADER.unpack_from(data, at)
        if length < _HEADER.size:
            raise DataplaneError("rtnetlink said something without sense")
        yield kind, data[at + _HEADER.size : at + length]
        at += length + 3 & ~3


def attributes(data: bytes, at: int) -> Attributes:
    """The attributes from a place on, by type."""
    found: Attributes = {}
    while at + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        if length < _ATTRIBUTE.size:
            raise DataplaneError("rtnetlink said something without sense")
        found[kind & _TYPE_MASK] = data[at + _ATTRIBUTE.size : at + length]
        at += length + 3 & ~3
    return found


def dump(kind: int, body: bytes) -> Iterator[bytes]:
    """What is behind the header of each message of a dump, in the network namespace of the caller.

    The kernel answers while it is asked, so nothing is waited for. Raises OSError where it refuses.
    """
    how = socket.SOCK_RAW | socket.SOCK_NONBLOCK
    with socket.socket(socket.AF_NETLINK, how, socket.NETLINK_ROUTE) as asked:
        asked.bind((0, 0))
        asked.send(request(kind, body))
        while True:
            for told, message in split(asked.recv(_RECEIVE_BYTES)):
                if told == NLMSG_DONE:
                    return
                if told == NLMSG_ERROR:
                    (code,) = _ERRNO.unpack_from(message)
                    raise OSError(-code, os.strerror(-code))
                yield message

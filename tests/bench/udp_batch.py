"""Many datagrams per system call, so that a generator in Python is not what a benchmark measures.

sendmmsg(2) and recvmmsg(2) by ctypes, IPv4. A sender is prepared once with its payloads, destinations and
source addresses (IP_PKTINFO, ip(7)): one socket speaks for thousands of clients of 127.0.0.0/8. Without
destinations the payloads go where the socket leads: whole frames, where it is a bound packet(7) socket.
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
from collections.abc import Sequence

_libc = ctypes.CDLL(None, use_errno=True)
SO_TIMESTAMPNS = 35
IP_PKTINFO = 8
"""<linux/in.h>; the socket module of Python 3.11 lacks it."""
_IN_PKTINFO = struct.Struct("=I4s4s")
_TIMESPEC = struct.Struct("=qq")
_CMSG = struct.Struct("=Qii")
_SOCKADDR = struct.Struct("=H2s4s8x")
CONTROL_BYTES = 64


class _IoVec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("len", ctypes.c_size_t))


class _MsgHdr(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_void_p),
        ("namelen", ctypes.c_uint32),
        ("iov", ctypes.c_void_p),
        ("iovlen", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("controllen", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class _MMsgHdr(ctypes.Structure):
    _fields_ = (("hdr", _MsgHdr), ("len", ctypes.c_uint32))


class _Ring:
    """`count` message headers over three flat buffers."""

    def __init__(self, count: int, payload_bytes: int) -> None:
        self.payload_bytes = payload_bytes
        self.payloads = ctypes.create_string_buffer(count * payload_bytes)
        self.names = ctypes.create_string_buffer(count * _SOCKADDR.size)
        self.controls = ctypes.create_string_buffer(count * CONTROL_BYTES)
        self.vectors = (_IoVec * count)()
        self.headers = (_MMsgHdr * count)()
        for index in range(count):
            vector, header = self.vectors[index], self.headers[index].hdr
            vector.base = ctypes.addressof(self.payloads) + index * payload_bytes
            vector.len = payload_bytes
            header.iov, header.iovlen = ctypes.addressof(vector), 1
            header.name = ctypes.addressof(self.names) + index * _SOCKADDR.size
            header.namelen = _SOCKADDR.size
            header.control = ctypes.addressof(self.controls) + index * CONTROL_BYTES
            header.controllen = CONTROL_BYTES


class Sender:
    """A list of datagrams that can be sent again and again, any stretch of it in one call."""

    def __init__(
        self,
        via: socket.socket,
        payloads: Sequence[bytes],
        destinations: Sequence[tuple[str, int]] | None,
        sources: Sequence[str] | None = None,
    ) -> None:
        self._fd = via.fileno()
        self._count = len(payloads)
        ring = self._ring = _Ring(self._count, max(map(len, payloads)))
        self._size = ctypes.sizeof(_MMsgHdr)
        for index, payload in enumerate(payloads):
            ctypes.memmove(ring.vectors[index].base, payload, len(payload))
            ring.vectors[index].len = len(payload)
            self._set_destination(index, None if destinations is None else destinations[index])
            self._set_source(index, None if sources is None else sources[index])

    def _set_destination(self, index: int, to: tuple[str, int] | None) -> None:
        header = self._ring.headers[index].hdr
        if to is None:
            header.name, header.namelen = None, 0
            return
        name = _SOCKADDR.pack(socket.AF_INET, to[1].to_bytes(2, "big"), socket.inet_aton(to[0]))
        ctypes.memmove(header.name, name, len(name))

    def _set_source(self, index: int, source: str | None) -> None:
        header = self._ring.headers[index].hdr
        if source is None:
            header.controllen = 0
            return
        info = _IN_PKTINFO.pack(0, socket.inet_aton(source), bytes(4))
        control = _CMSG.pack(_CMSG.size + len(info), socket.IPPROTO_IP, IP_PKTINFO) + info
        ctypes.memmove(header.control, control, len(control))
        header.controllen = _CMSG.size + 16

    def send(self, first: int, count: int) -> int:
        """Send datagrams [first, first + count) of the list; how many the kernel took."""
        count = min(count, self._count - first)
        at = ctypes.byref(self._ring.headers, first * self._size)
        sent = _libc.sendmmsg(self._fd, at, count, 0)
        if sent < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        return int(sent)


class Receiver:
    """Reads what a socket has, a batch at a time."""

    def __init__(self, source: socket.socket, batch: int = 64, payload_bytes: int = 256) -> None:
        self._fd = source.fileno()
        self._batch = batch
        self._ring = _Ring(batch, payload_bytes)
        self._initial = bytes(self._ring.headers)

    def receive(self) -> int:
        """How many datagrams were waiting, up to a batch. They are looked at with the methods below."""
        ctypes.memmove(self._ring.headers, self._initial, len(self._initial))
        got = _libc.recvmmsg(self._fd, self._ring.headers, self._batch, socket.MSG_DONTWAIT, None)
        return max(int(got), 0)

    def payload(self, index: int, size: int) -> bytes:
        """The first bytes of a datagram."""
        return ctypes.string_at(self._ring.vectors[index].base, size)

    def source(self, index: int) -> tuple[str, int]:
        """Where a datagram came from."""
        _, port, host = _SOCKADDR.unpack(ctypes.string_at(self._ring.headers[index].hdr.name, _SOCKADDR.size))
        return socket.inet_ntoa(host), int.from_bytes(port, "big")

    def time_ns(self, index: int) -> int:
        """When the kernel received it, wall clock; needs SO_TIMESTAMPNS on the socket."""
        control = ctypes.string_at(self._ring.headers[index].hdr.control, CONTROL_BYTES)
        seconds, nanoseconds = _TIMESPEC.unpack_from(control, _CMSG.size)
        return int(seconds * 1_000_000_000 + nanoseconds)

"""The sockets of one call: one connected UDP socket per candidate, so that the kernel lets nobody else in.

A connected socket also tells at once when there is no route, and picks the source address itself.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable

from core.addr import Endpoint

MAX_DATAGRAM_BYTES = 2048
READS_PER_WAKE_UP = 32
NO_ROOM = frozenset({errno.ENOBUFS, errno.ENOMEM})
"""The kernel has no memory for a packet at the moment, which says nothing about the way."""


class Links:
    """Sends to candidates and hands every datagram to `on_datagram(data, source)`."""

    def __init__(self, on_datagram: Callable[[bytes, Endpoint], None]) -> None:
        self._on_datagram = on_datagram
        self._loop = asyncio.get_running_loop()
        self._sockets: dict[Endpoint, socket.socket] = {}

    def send(self, data: bytes, to: Endpoint) -> bool:
        """False when there is no way there from this machine; a full socket buffer just loses the packet.

        A connected socket keeps the address that it began with. When that is gone, so is the socket: the next
        packet opens another, from whatever address leads there by then.
        """
        try:
            link = self._sockets.get(to) or self._open(to)
            link.send(data)
        except (BlockingIOError, ConnectionRefusedError):
            return True  # refused: nobody listens there for the moment, a restarting relay say
        except OSError as error:
            if error.errno in NO_ROOM:
                return True
            self._forget(to)
            return False
        return True

    def local(self, to: Endpoint) -> Endpoint | None:
        """The address and port that packets to this candidate leave from."""
        link = self._sockets.get(to)
        return None if link is None else Endpoint(*link.getsockname()[:2])

    def rebind(self) -> None:
        """Change every source port, as a NAT does that has forgotten us: nobody is told."""
        for endpoint in list(self._sockets):
            old = self._sockets.pop(endpoint)
            try:
                self._open(endpoint)  # before the old port is free, so that the new one is another
            finally:
                self._release(old)

    def renew(self) -> None:
        """Open all sockets again with the next packet, from the address that the system prefers by then."""
        self.close()

    def keep_only(self, endpoint: Endpoint) -> None:
        """Close the sockets of the other candidates; sending to one opens it again."""
        for other in [e for e in self._sockets if e != endpoint]:
            self._release(self._sockets.pop(other))

    def close(self) -> None:
        """Close everything. Idempotent."""
        while self._sockets:
            self._release(self._sockets.popitem()[1])

    def _open(self, to: Endpoint) -> socket.socket:
        link = socket.socket(to.af, socket.SOCK_DGRAM)
        try:
            link.setblocking(False)
            link.connect(to)
        except OSError:
            link.close()
            raise
        self._loop.add_reader(link.fileno(), self._read, link, to)
        self._sockets[to] = link
        return link

    def _forget(self, to: Endpoint) -> None:
        link = self._sockets.pop(to, None)
        if link is not None:
            self._release(link)

    def _release(self, link: socket.socket) -> None:
        self._loop.remove_reader(link.fileno())
        link.close()

    def _read(self, link: socket.socket, source: Endpoint) -> None:
        for _ in range(READS_PER_WAKE_UP):
            try:
                data = link.recv(MAX_DATAGRAM_BYTES)
            except ConnectionRefusedError:
                continue
            except OSError:
                return  # read empty, or closed by what the last datagram led to
            self._on_datagram(data, source)

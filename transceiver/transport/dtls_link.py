"""The transport under aiortc's RTCDtlsTransport: datagrams in one at a time, whole records out.

DTLS records: RFC 6347 §4.1, RFC 9147 §4.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Sequence

from OpenSSL import SSL

DTLS_MTU = 1200
"""UDP payload bytes of a handshake datagram; what browsers assume, and what passes any IPv6 path
(RFC 8200 §5)."""
INBOX_DATAGRAMS = 64
"""DTLS datagrams that may wait; the peer's flow control keeps it far below."""
REPEAT_AFTER_S = (0.1, 0.2, 0.4)
"""Pauses after which an unanswered flight is sent again. OpenSSL's first is 1 s (RFC 6347 §4.2.4.1), and a
repeated ClientHello is no sign to it that its own flight was lost; browsers begin with 50–100 ms."""
PARTING_AFTER_S = (0.04, 0.08, 0.16)
"""Pauses after which a last message is sent again. Its acknowledgement is not waited for: who ends a session
may have given up its routes."""
GOODBYE_AFTER_S = (0.05, 0.1, 0.2, 0.35)
"""The same of ABORT and close_notify: five times in 0.7 s, of which a network that loses a third of all
packets delivers one in 99.6 % of cases."""
MAX_REMEMBERED = 16
"""Datagrams of a goodbye that are repeated."""

_PLAIN_HEADER = 13
"""Type, version, epoch, sequence number and length (16 bits, last)."""
_UNIFIED = 0b001_00000
"""The first three bits of DTLS 1.3's shorter header; then: connection id, 16-bit sequence, length."""


class Link:
    """A bounded inbox, and the four members of an ICE transport that RTCDtlsTransport uses.

    The latest flight is repeated, byte by byte, sooner than OpenSSL would. To the other side that is a
    network that sometimes delivers twice: what it has, it drops as a replay (RFC 6347 §4.1.2.6).
    """

    role = "controlled"
    state = "completed"

    def __init__(self, send: Callable[[bytes], None]) -> None:
        self._send_datagram = send
        self._inbox: deque[bytes] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._is_open = True
        self._is_handshaking = True
        self._flight: list[bytes] = []
        self._repeat_timer: asyncio.TimerHandle | None = None
        self._remembered: list[bytes] | None = None
        self.ssl: SSL.Connection | None = None

    def send_by(self, send: Callable[[bytes], None]) -> None:
        """What is sent from here on goes by `send`."""
        self._send_datagram = send

    def repeat(self) -> None:
        """Send the latest flight again, besides the times at which it is repeated anyhow."""
        for datagram in self._flight:
            self._send_datagram(datagram)

    def put(self, datagram: bytes) -> bool:
        """False when the inbox is full."""
        if len(self._inbox) >= INBOX_DATAGRAMS:
            return False
        self._inbox.append(datagram)
        self._wake()
        return True

    def end_handshake(self) -> None:
        """What is sent from here on is data, which SCTP takes care of. Our last flight may yet be lost."""
        self._is_handshaking = False

    def remember(self) -> None:
        """What is sent from here on is kept, for `say_again`."""
        self._remembered = []

    async def say_again(self, pauses_s: Sequence[float]) -> None:
        """After each pause, what was sent since `remember`, byte by byte."""
        for pause_s in pauses_s:
            await asyncio.sleep(pause_s)
            for datagram in self._remembered or ():
                self._send_datagram(datagram)

    def settle(self) -> None:
        """The other side has our last flight; nothing is repeated any more. Idempotent."""
        self._is_handshaking = False
        self._flight = []
        self._cancel_repeat()

    def close(self) -> None:
        """Whoever reads learns that there is nothing to come."""
        self.settle()
        self._is_open = False
        self._send_datagram = _drop
        self._inbox.clear()
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _recv(self) -> bytes:
        while self._is_open and not self._inbox:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        if not self._is_open:
            raise ConnectionError
        return self._inbox.popleft()

    async def _send(self, data: bytes) -> None:
        """`data` is what one read of OpenSSL's output gave, possibly the beginning of a longer flight."""
        while self.ssl is not None:
            try:
                data += self.ssl.bio_read(65_536)
            except SSL.Error:
                break
        flight = list(pack_records(data, DTLS_MTU))
        if flight and self._is_handshaking:
            self._flight = flight
            self._repeat_later(0)
        if self._remembered is not None:
            self._remembered = (self._remembered + flight)[:MAX_REMEMBERED]
        for datagram in flight:
            self._send_datagram(datagram)

    def _repeat_later(self, attempt: int) -> None:
        self._cancel_repeat()
        if attempt < len(REPEAT_AFTER_S):
            loop = asyncio.get_running_loop()
            self._repeat_timer = loop.call_later(REPEAT_AFTER_S[attempt], self._repeat, attempt)

    def _repeat(self, attempt: int) -> None:
        self._repeat_later(attempt + 1)
        self.repeat()

    def _cancel_repeat(self) -> None:
        if self._repeat_timer is not None:
            self._repeat_timer.cancel()
            self._repeat_timer = None


def _drop(datagram: bytes) -> None:
    """After the end."""


def pack_records(flight: bytes, mtu: int) -> Iterator[bytes]:
    """Cut what OpenSSL wrote into datagrams of at most `mtu` bytes, never within a record.

    Several handshake messages of a flight share a datagram, which saves the peer's kernel work and us
    packets to lose. A single record over the MTU goes alone.
    """
    start = end = 0
    while end < len(flight):
        following = end + _record_size(flight, end)
        if following - start > mtu and end > start:
            yield flight[start:end]
            start = end
        end = following
    if end > start:
        yield flight[start:end]


def _record_size(flight: bytes, at: int) -> int:
    """The record's size; all that is left when its header does not say."""
    first = flight[at]
    if first & 0b111_00000 != _UNIFIED:
        size = _PLAIN_HEADER + int.from_bytes(flight[at + 11 : at + _PLAIN_HEADER], "big")
    elif first & 0b100:
        header = 5 if first & 0b1000 else 4
        size = header + int.from_bytes(flight[at + header - 2 : at + header], "big")
    else:
        size = len(flight) - at
    return min(size, len(flight) - at)

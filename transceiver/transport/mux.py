"""The one UDP port of a process, and whose each datagram is.

Every client of every session sends to the same port. A STUN request says in its USERNAME whose it is, a
response in its transaction; everything else goes by the address that it comes from, which an authentic
request has shown to be the client's. Media from an address that nobody has shown yet is offered to the
sessions whose SSRC it carries: where it authenticates, a NAT has moved the client. SSRCs are no names: some
clients always choose the same. All the rest is dropped and counted, and
nothing here ever answers, but to a check that proves to be of a call that is gone.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from typing import Protocol

from core.addr import Endpoint, IpFamily, from_sockaddr
from core.demux import KIND_BY_FIRST_BYTE, PacketKind, is_rtcp
from core.errors import StunError, UnavailableError
from core.service.sockets import kernel_drops
from core.stun import Attribute, Message, MessageType, parse_untrusted
from core.token import UFRAG_CHARS
from transceiver.observer import Observer
from transceiver.transport.challenges import LOCATOR_BYTES
from transceiver.transport.reasons import MuxReason

MAX_DATAGRAM_BYTES = 2048
"""More than an Ethernet frame; a longer datagram is cut by the read and dropped."""
READS_PER_WAKE_UP = 64
"""Then timers and other sockets have their turn; what is left wakes the loop again."""
SOCKET_BUFFER_BYTES = 4 << 20
"""Half a second of 100 calls, by the kernel's accounting of about 1.3 KB per small packet."""
BIND_ATTEMPTS = 16
MAX_OFFERS = 8
"""Sessions that one datagram is offered to by its SSRC, at some 3 µs each. Those that it was not for
come last the next time, so among a hundred that share an SSRC a client is found within 13 packets."""

_SO_RCVBUFFORCE = 33
_SO_SNDBUFFORCE = 32


class Receiver(Protocol):
    """A session, as the mux sees it."""

    def receive_check_untrusted(self, message: Message, source: Endpoint, now_ns: int) -> None:
        """A STUN message that names a ufrag of this session."""

    def receive_answer_untrusted(self, message: Message, source: Endpoint, now_ns: int) -> None:
        """A STUN response that names this session's locator."""

    def receive_dtls_untrusted(self, datagram: bytes, source: Endpoint, now_ns: int) -> None:
        """A DTLS datagram from an address of this session."""

    def receive_media_untrusted(self, datagram: bytes, source: Endpoint, now_ns: int) -> bool:
        """SRTP or SRTCP from an address of this session, or from any with its SSRC. True if authentic."""

    def holds(self, endpoint: Endpoint, now_ns: int) -> bool:
        """Whether the session's client is at that address, which another's claims; it may be asked."""

    def lose(self, endpoint: Endpoint) -> None:
        """The address is another session's."""


@dataclass(slots=True)
class MuxStats:
    """Counters since the start."""

    packets_received: int = 0
    bytes_received: int = 0
    packets_sent: int = 0
    bytes_sent: int = 0
    send_errors: Counter[str] = field(default_factory=Counter)
    """By errno, such as `EAGAIN` for a full socket buffer."""


class Mux:
    """Sockets of one port, at most one per address family, and the routes to sessions.

    Takes ownership of `sockets`. Refused datagrams are told to `observer`. Needs a running loop.
    """

    def __init__(self, sockets: Sequence[socket.socket], observer: Observer) -> None:
        self._loop = asyncio.get_running_loop()
        self._observer = observer
        self._sockets = {s.family: s for s in sockets}
        self._by_ufrag: dict[bytes, Receiver | None] = {}
        """None where the session says goodbye: 403 would outrun what it has to say."""
        self._by_address: dict[tuple[str, int], tuple[Receiver, Endpoint]] = {}
        self._by_locator: dict[bytes, Receiver] = {}
        self._next_locator = 0
        self._by_ssrc: dict[bytes, list[Receiver]] = {}
        """In the order in which they are offered media; no session is in two of the lists."""
        self.stats = MuxStats()
        self.turn_away_untrusted: Callable[[Message, int], bytes | None] = lambda message, now_min: None
        """What to say to a check for nobody's ufrag, minutes since the epoch given; None is silence."""
        for sock in sockets:
            sock.setblocking(False)
            self._loop.add_reader(sock.fileno(), partial(self._drain, sock))

    @property
    def port(self) -> int:
        """The UDP port that every session of this process is reached at."""
        return int(next(iter(self._sockets.values())).getsockname()[1])

    @property
    def routes(self) -> int:
        """Entries in all the tables: zero without sessions."""
        by_name = len(self._by_ufrag) + len(self._by_locator)
        return by_name + len(self._by_address) + sum(map(len, self._by_ssrc.values()))

    @property
    def kernel_drops(self) -> int:
        """Datagrams that found the socket buffer full."""
        return sum(map(kernel_drops, self._sockets.values()))

    def close(self) -> None:
        """Close the sockets. Idempotent."""
        while self._sockets:
            _, sock = self._sockets.popitem()
            self._loop.remove_reader(sock.fileno())
            sock.close()

    # Routes

    def register(self, ufrag: str, receiver: Receiver) -> None:
        """STUN requests for `ufrag` go to `receiver`."""
        self._by_ufrag[ufrag.encode()] = receiver

    def part(self, ufrag: str) -> None:
        """STUN requests for `ufrag` are dropped from here on, until `unregister`."""
        self._by_ufrag[ufrag.encode()] = None

    def unregister(self, ufrag: str) -> None:
        """The ufrag is nobody's."""
        self._by_ufrag.pop(ufrag.encode(), None)

    def locate(self, receiver: Receiver) -> bytes:
        """A locator for `receiver`, until `forget_locator`: responses to checks whose transaction begins with
        it go there.
        """
        while (locator := self._next_locator.to_bytes(LOCATOR_BYTES)) in self._by_locator:
            self._next_locator = (self._next_locator + 1) % (1 << 8 * LOCATOR_BYTES)
        self._next_locator = (self._next_locator + 1) % (1 << 8 * LOCATOR_BYTES)
        self._by_locator[locator] = receiver
        return locator

    def forget_locator(self, locator: bytes) -> None:
        """Undo `locate`. Idempotent."""
        self._by_locator.pop(locator, None)

    def claim(self, endpoint: Endpoint, receiver: Receiver, now_ns: int) -> bool:
        """Route datagrams from `endpoint` to `receiver`, which has seen a client of its own there.
        False while the address is another session's whose client answers there: whoever can fake a source
        address and has a call of their own must not take another's away.
        """
        holder, _ = self._by_address.get(endpoint, (receiver, endpoint))
        if holder is not receiver:
            if holder.holds(endpoint, now_ns):
                return False
            holder.lose(endpoint)
        self._by_address[endpoint] = (receiver, endpoint)
        return True

    def release(self, endpoints: Iterable[Endpoint], receiver: Receiver) -> None:
        """Forget addresses as far as they are routed to `receiver`."""
        for endpoint in endpoints:
            holder, _ = self._by_address.get(endpoint, (None, endpoint))
            if holder is receiver:
                del self._by_address[endpoint]

    def learn_ssrc(self, ssrc: bytes, receiver: Receiver) -> None:
        """Offer media with this SSRC from unknown addresses to `receiver` too, until `forget_ssrc`."""
        self._by_ssrc.setdefault(ssrc, []).append(receiver)

    def forget_ssrc(self, ssrc: bytes, receiver: Receiver) -> None:
        """Undo `learn_ssrc`."""
        others = [other for other in self._by_ssrc.get(ssrc, ()) if other is not receiver]
        if others:
            self._by_ssrc[ssrc] = others
        else:
            self._by_ssrc.pop(ssrc, None)

    # Datagrams

    def send(self, datagram: bytes, to: Endpoint) -> None:
        """Send, or count why not: a datagram may be lost, nobody waits for a socket."""
        try:
            self._sockets[to.af].sendto(datagram, to)
        except KeyError:
            self.stats.send_errors["EAFNOSUPPORT"] += 1
        except OSError as error:
            self.stats.send_errors[errno.errorcode.get(error.errno or 0, "unknown")] += 1
        else:
            self.stats.packets_sent += 1
            self.stats.bytes_sent += len(datagram)

    def _drain(self, sock: socket.socket) -> None:
        now_ns = time.monotonic_ns()
        for _ in range(READS_PER_WAKE_UP):
            try:
                # Sessions keep the bytes, so a buffer of ours to read into would only add a copy.
                datagram, sockaddr = sock.recvfrom(MAX_DATAGRAM_BYTES)
            except OSError:
                return  # read empty; or closed by what the last datagram led to
            size = len(datagram)
            self.stats.packets_received += 1
            self.stats.bytes_received += size
            if 0 < size < MAX_DATAGRAM_BYTES:
                self._dispatch_untrusted(datagram, sockaddr, now_ns)
            else:
                self._refuse(MuxReason.TOO_LONG if size else MuxReason.EMPTY)

    def _dispatch_untrusted(self, datagram: bytes, sockaddr: tuple[str, int], now_ns: int) -> None:
        kind = KIND_BY_FIRST_BYTE[datagram[0]]
        if kind is PacketKind.STUN:
            self._dispatch_stun_untrusted(datagram, sockaddr, now_ns)
            return
        if kind is PacketKind.OTHER:
            self._refuse(MuxReason.NOT_OURS)
            return
        # The two leading members are all that a socket of our own family and prefix can differ in.
        route = self._by_address.get(sockaddr[:2])
        if kind is PacketKind.MEDIA:
            self._dispatch_media_untrusted(datagram, sockaddr, route, now_ns)
        elif route is not None:
            route[0].receive_dtls_untrusted(datagram, route[1], now_ns)
        else:
            self._refuse(MuxReason.UNKNOWN_ADDRESS)

    def _dispatch_stun_untrusted(self, datagram: bytes, sockaddr: tuple[str, int], now_ns: int) -> None:
        try:
            message = parse_untrusted(datagram)
        except StunError as error:
            self._refuse(error.reason)
            return
        username = message.get(Attribute.USERNAME)
        if username is None:
            self._dispatch_answer_untrusted(message, sockaddr, now_ns)
            return
        ufrag = username[:UFRAG_CHARS]
        receiver = self._by_ufrag.get(ufrag)
        if receiver is not None:
            receiver.receive_check_untrusted(message, from_sockaddr(sockaddr), now_ns)
        elif ufrag in self._by_ufrag:
            self._refuse(MuxReason.CALL_ENDING)
        else:
            self._turn_away_untrusted(message, sockaddr)

    def _turn_away_untrusted(self, message: Message, sockaddr: tuple[str, int]) -> None:
        response = self.turn_away_untrusted(message, int(time.time()) // 60)
        self._refuse(MuxReason.UNKNOWN_UFRAG if response is None else MuxReason.CALL_GONE)
        if response is not None:
            self.send(response, from_sockaddr(sockaddr))

    def _dispatch_answer_untrusted(self, message: Message, sockaddr: tuple[str, int], now_ns: int) -> None:
        """Responses have no USERNAME (RFC 8489 §9.1.4): the transaction says whose check it was."""
        receiver = self._by_locator.get(message.transaction_id[:LOCATOR_BYTES])
        if receiver is None or message.type not in (MessageType.BINDING_RESPONSE, MessageType.BINDING_ERROR):
            self._refuse(MuxReason.NO_USERNAME)
        else:
            receiver.receive_answer_untrusted(message, from_sockaddr(sockaddr), now_ns)

    def _dispatch_media_untrusted(
        self,
        datagram: bytes,
        sockaddr: tuple[str, int],
        route: tuple[Receiver, Endpoint] | None,
        now_ns: int,
    ) -> None:
        if route is not None and route[0].receive_media_untrusted(datagram, route[1], now_ns):
            return
        ssrc = datagram[4:8] if is_rtcp(datagram) else datagram[8:12]
        candidates = self._by_ssrc.get(ssrc)
        if candidates is None:
            if route is None:
                self._refuse(MuxReason.UNKNOWN_ADDRESS)
            return
        owner = None if route is None else route[0]
        source = from_sockaddr(sockaddr)
        for _ in range(min(len(candidates), MAX_OFFERS)):
            candidate = candidates[0]
            if candidate is not owner and candidate.receive_media_untrusted(datagram, source, now_ns):
                return
            candidates.append(candidates.pop(0))

    def _refuse(self, reason: StrEnum) -> None:
        self._observer.packet_refused(str(reason))


def open_udp_port(addresses: Sequence[str], port: int) -> list[socket.socket]:
    """A UDP socket per address, all on one port; with port 0, on one that is free in every family.

    Raises UnavailableError.
    """
    for _ in range(BIND_ATTEMPTS):
        sockets: list[socket.socket] = []
        try:
            for address in addresses:
                chosen = port or (sockets[0].getsockname()[1] if sockets else 0)
                sockets.append(_open_socket(Endpoint(address, chosen)))
        except OSError as error:
            for sock in sockets:
                sock.close()
            if port == 0 and error.errno == errno.EADDRINUSE:
                continue
            raise UnavailableError(
                f"cannot listen on UDP {Endpoint(address, chosen)}: {error.strerror}"
            ) from None
        return sockets
    raise UnavailableError(f"no UDP port is free on all of {', '.join(addresses)}")


def _open_socket(endpoint: Endpoint) -> socket.socket:
    sock = socket.socket(endpoint.af, socket.SOCK_DGRAM)
    try:
        if endpoint.family is IpFamily.V6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        _enlarge(sock, _SO_RCVBUFFORCE, socket.SO_RCVBUF)
        _enlarge(sock, _SO_SNDBUFFORCE, socket.SO_SNDBUF)
        sock.bind(endpoint)
    except OSError:
        sock.close()
        raise
    return sock


def _enlarge(sock: socket.socket, forced: int, plain: int) -> None:
    """Past the sysctl's limit where we have the right, up to it where not."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, forced, SOCKET_BUFFER_BYTES)
    except PermissionError:
        sock.setsockopt(socket.SOL_SOCKET, plain, SOCKET_BUFFER_BYTES)

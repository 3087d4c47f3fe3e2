"""A session's DTLS handshakes until one has made it: docs/paths.md has the rules.

Nothing in a handshake is authentic before its end, so nobody's first packet decides. As the server we go on
with up to three at a time, one for each ClientHello, each answered where its packets come from; as the client
with one at a time. The first whose certificate was signaled is the session's, and the others are dropped. One
that fails is over, and that is all.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from enum import StrEnum
from typing import Literal, Protocol

from core.addr import Endpoint
from transceiver.media.keys import SrtpKeys
from transceiver.transport.peer import Peer, PeerEvents
from transceiver.transport.reasons import PeerReason

MAX_HANDSHAKES = 3
MAX_TRIES_EACH = 4
"""Handshakes that one address may begin."""
MAX_TRIES = 32
"""Handshakes of one session."""
STALLED_NS = 2_000_000_000
"""One that nothing has come of for so long gives way to another; browsers repeat a flight sooner."""
EXPLAIN_AFTER = 2
"""Calls of `expire` after which a client is told that its handshake has failed, if it has begun no other."""

_RANDOM = slice(27, 59)
"""Of a ClientHello whose first fragment has it: 13 bytes of record, 12 of handshake, 2 of version."""


class HandshakeEvents(Protocol):
    """Whoever has handshakes, as they see it."""

    def send_handshake(self, datagram: bytes, to: Endpoint | None) -> bool:
        """A datagram for an address, or for where the client is; False when it may not go there yet."""

    def is_proven(self, endpoint: Endpoint) -> bool:
        """Whether the client has shown that it hears us there."""

    def is_only_way(self, endpoint: Endpoint) -> bool:
        """Whether it is where the client is, and nothing is proven."""

    def handshake_finished(self, peer: Peer, source: Endpoint | None, now_ns: int, *, is_sole: bool) -> None:
        """The session's handshake; `receive_keys` follows. `is_sole`: all of it came from `source`."""

    def receive_keys(self, keys: SrtpKeys, now_ns: int) -> None:
        """See PeerEvents."""

    def refuse(self, reason: StrEnum) -> None:
        """A datagram was dropped."""


class _Handshake(PeerEvents):
    """One of them, and the events of its peer until it has made it."""

    def __init__(self, owner: Handshakes, now_ns: int) -> None:
        self._owner = owner
        self.random: bytes | None = None
        """Of the ClientHello that it is for; None as the client."""
        self.source: Endpoint | None = None
        """Where the latest of it came from, and where it is answered."""
        self.sources: set[Endpoint] = set()
        self.fed_ns = now_ns
        self.is_withheld = False
        """Something of ours could not go out."""
        self.expired = 0
        """Calls of `expire` since it has failed."""
        self.has_failed = False
        self.peer: Peer = owner.make_peer(self)

    def feed(self, datagram: bytes, source: Endpoint, now_ns: int) -> None:
        is_elsewhere = bool(self.sources) and source not in self.sources
        self.source, self.fed_ns = source, now_ns
        self.sources.add(source)
        self.peer.receive_untrusted(datagram)
        if is_elsewhere:
            self.peer.repeat()

    def send_dtls(self, datagram: bytes) -> None:
        """See PeerEvents."""
        self.is_withheld |= not self._owner.events.send_handshake(datagram, self.source)

    def receive_keys(self, keys: SrtpKeys, now_ns: int) -> None:
        """See PeerEvents."""
        self._owner.finished(self, keys, now_ns)

    def refuse(self, reason: StrEnum) -> None:
        """See PeerEvents."""
        self._owner.events.refuse(reason)

    def peer_closed(self, reason: str) -> None:
        """See PeerEvents: whatever the reason, there are no keys."""
        self.has_failed = True

    def channel_opened(self) -> None:
        """See PeerEvents: not before there are keys."""

    def receive_message_untrusted(self, text: str) -> None:
        """See PeerEvents: not before there are keys."""

    def record_received(self, now_ns: int) -> None:
        """See PeerEvents: not before there are keys."""


class Handshakes:
    """Of one session. `make_peer(events)` makes our end of one. Needs a running loop."""

    def __init__(
        self,
        role: Literal["client", "server"],
        make_peer: Callable[[PeerEvents], Peer],
        events: HandshakeEvents,
    ) -> None:
        self._role = role
        self.make_peer = make_peer
        self.events = events
        self._going: list[_Handshake] = []
        self._ready: _Handshake | None = None
        """Made while the client's first packet is under way."""
        self._tries: Counter[Endpoint | None] = Counter()
        self._dropping: set[asyncio.Task[None]] = set()
        self._is_over = False

    def begin(self, now_ns: int) -> None:
        """The client is there: as the DTLS client, send a ClientHello; as the server, be ready for one."""
        if self._role == "client":
            self._try(None, None, now_ns)
        else:
            self._ready = self._make(now_ns)

    def receive_untrusted(self, datagram: bytes, source: Endpoint, now_ns: int) -> None:
        """A DTLS datagram from where a fresh check or an answer has shown the client."""
        if self._is_over:
            return
        found = self._find_untrusted(datagram, source, now_ns)
        if not found:
            self.events.refuse(PeerReason.UNASKED_HANDSHAKE)
        for handshake in found:
            handshake.feed(datagram, source, now_ns)

    def _find_untrusted(self, datagram: bytes, source: Endpoint, now_ns: int) -> list[_Handshake]:
        """The handshakes that a datagram may be of: a ClientHello says which, and all else goes by where it
        comes from. A client that has changed its path goes on with what it had begun, once that is proven.
        """
        random = client_random_untrusted(datagram) if self._role == "server" else None
        if random is not None:
            known = next((h for h in self._going if h.random == random), None)
            begun = known or self._admit(random, source, now_ns)
            return [] if begun is None else [begun]
        found = [h for h in self._going if source in h.sources]
        if found or not self._going:
            return found
        if self.events.is_proven(source):
            return [max(self._going, key=lambda h: h.fed_ns)]
        is_asked = self._role == "client" and not self._going[0].sources
        return list(self._going) if is_asked and self.events.is_only_way(source) else []

    def _admit(self, random: bytes, source: Endpoint, now_ns: int) -> _Handshake | None:
        if self._tries[source] >= MAX_TRIES_EACH or self._tries.total() >= MAX_TRIES:
            return None
        if len(self._going) >= MAX_HANDSHAKES:
            idle = min(self._going, key=lambda h: (any(map(self.events.is_proven, h.sources)), h.fed_ns))
            is_stranger = not any(map(self.events.is_proven, idle.sources))
            is_weaker = is_stranger and self.events.is_proven(source)
            if not (is_weaker or idle.has_failed or now_ns - idle.fed_ns >= STALLED_NS):
                return None
            self._drop(idle)
        return self._try(random, source, now_ns)

    def _try(self, random: bytes | None, source: Endpoint | None, now_ns: int) -> _Handshake:
        self._tries[source] += 1
        handshake, self._ready = self._ready or self._make(now_ns), None
        handshake.random, handshake.fed_ns = random, now_ns
        self._going.append(handshake)
        return handshake

    def _make(self, now_ns: int) -> _Handshake:
        handshake = _Handshake(self, now_ns)
        handshake.peer.start()
        return handshake

    def proven(self, endpoint: Endpoint) -> None:
        """The client hears us there: what was withheld from it, and our ClientHello if it is there now, go
        out at once.
        """
        for handshake in self._going:
            is_for_it = handshake.source == endpoint or (self._role == "client" and not handshake.sources)
            if is_for_it and handshake.is_withheld:
                handshake.is_withheld = False
                handshake.peer.repeat()

    def expire(self, now_ns: int) -> None:
        """Let go of what has failed, and tell a client so that has begun nothing else. For calling every half
        a second.
        """
        for handshake in [h for h in self._going if h.has_failed]:
            handshake.expired += 1
            if self._role == "client" and self._tries.total() < MAX_TRIES_EACH:
                self._drop(handshake)
                self._try(None, None, now_ns)
            elif handshake.expired == EXPLAIN_AFTER:
                others = (h for h in self._going if h is not handshake and h.source == handshake.source)
                self._drop(handshake, is_explained=not any(others))

    def finished(self, handshake: _Handshake, keys: SrtpKeys, now_ns: int) -> None:
        """One has made it; should another do so in the same moment, it was the client's no less."""
        if self._is_over:
            keys.wipe()
            return
        self._is_over = True
        self._going.remove(handshake)
        for other in list(self._going):
            self._drop(other)
        is_sole = len(handshake.sources) == 1
        self.events.handshake_finished(handshake.peer, handshake.source, now_ns, is_sole=is_sole)
        self.events.receive_keys(keys, now_ns)

    def _drop(self, handshake: _Handshake, *, is_explained: bool = False) -> None:
        self._going.remove(handshake)
        peer = handshake.peer
        task = asyncio.get_running_loop().create_task(peer.close() if is_explained else peer.drop())
        self._dropping.add(task)
        task.add_done_callback(self._dropping.discard)

    def mute(self) -> None:
        """Take nothing any more. `close` is still due."""
        self._is_over = True
        for handshake in (*self._going, *([self._ready] if self._ready else [])):
            handshake.peer.mute()

    async def close(self) -> None:
        """End those that have not made it, with what there is to be said, and free everything. Idempotent."""
        self.mute()
        if self._ready is not None:
            self._going.append(self._ready)
            self._ready = None
        for handshake in list(self._going):
            self._drop(handshake, is_explained=True)
        await asyncio.gather(*self._dropping)


def client_random_untrusted(datagram: bytes) -> bytes | None:
    """The 32 bytes that tell one ClientHello from another (RFC 6347 §4.3.2); None for any other datagram, and
    for a fragment that has them not.
    """
    is_hello = datagram[:1] == b"\x16" and datagram[3:5] == b"\0\0" and datagram[13:14] == b"\x01"
    is_first = datagram[19:22] == b"\0\0\0"
    return datagram[_RANDOM] if is_hello and is_first and len(datagram) >= _RANDOM.stop else None

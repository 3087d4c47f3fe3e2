"""Which unknown clients are being asked for, and what of their packets waits meanwhile. No I/O.

A packet that is not STUN, of a client that has no flow here, may be of a flow that another relay had.
Whoever can send packets can make us ask, with as many source addresses as they like; so everything is
bounded: how often is asked, how many clients wait, what is kept of their packets, and who was not found
is not asked for again for a while.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from edge.relay.forwarder import Stranger
from edge.relay.verdict import RelayReason

S = 1_000_000_000


class HeldPacket(NamedTuple):
    """A datagram, and why it is refused in the end if nothing is found."""

    datagram: bytes
    reason: RelayReason


@dataclass(slots=True)
class Held:
    """What waits for one client."""

    since_ns: int
    packets: list[HeldPacket] = field(default_factory=list)
    is_overtaken: bool = False
    """Whether a check of the client's was faster: there is a flow."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one worker."""

    asks_per_s: int = 10_000
    burst: int = 2000
    clients: int = 8192
    dtls_per_client: int = 4
    """Packets that are kept: a flight is of no use without its beginning."""
    media_per_client: int = 1
    """When thousands wait, what they said meanwhile is late, and to send it is half of the work."""
    held_bytes: int = 8 << 20
    missing: int = 1 << 16
    """Clients that are remembered as not found, of each of two generations."""
    missing_ns: int = 2 * S
    """How long at least; at most twice as long."""


class Answer(Enum):
    """What becomes of a packet of a stranger."""

    HELD = "held"
    """It waits."""
    NOT_HELD = "not_held"
    """Its client is asked for, but there is no room for it; or it is known to be unknown."""
    CROWDED = "crowded"
    """Too many are asked for: its client is not."""


class Lookups:
    """Clients are asked for in the order in which they came."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._interval_ns = S // limits.asks_per_s
        self._paid_at_ns = 0
        self._waiting: dict[Stranger, Held] = {}
        self._asked: dict[Stranger, Held] = {}
        self._held_bytes = 0
        self._missing: tuple[set[Stranger], set[Stranger]] = set(), set()
        self._turned_at_ns = 0

    def __len__(self) -> int:
        """Clients whose answer is to come."""
        return len(self._waiting) + len(self._asked)

    @property
    def is_asking(self) -> bool:
        """Whether the answer for anybody is to come."""
        return bool(self._waiting or self._asked)

    def is_full(self, stranger: Stranger) -> bool:
        """Whether a client's answer is to come, and for its media there is no room meanwhile."""
        held = self._waiting.get(stranger) or self._asked.get(stranger)
        return (
            held is not None and not held.is_overtaken and len(held.packets) >= self._limits.media_per_client
        )

    def overtake(self, stranger: Stranger) -> None:
        """A client has a flow, whatever the answer will be."""
        held = self._waiting.get(stranger) or self._asked.get(stranger)
        if held is not None:
            held.is_overtaken = True

    @property
    def is_wanted(self) -> bool:
        """Whether somebody is to be asked for."""
        return bool(self._waiting)

    def hold(self, stranger: Stranger, packet: HeldPacket, now_ns: int) -> Answer:
        """Keep a packet until its client was asked for, where that is to be done."""
        held = self._waiting.get(stranger) or self._asked.get(stranger)
        if held is None:
            self._turn(now_ns)
            if stranger in self._missing[0] or stranger in self._missing[1]:
                return Answer.NOT_HELD
            if len(self) >= self._limits.clients or not self._may_ask(now_ns):
                return Answer.CROWDED
            held = self._waiting[stranger] = Held(now_ns)
        size, limits = len(packet.datagram), self._limits
        is_media = packet.reason is RelayReason.UNKNOWN_FLOW_MEDIA
        most = limits.media_per_client if is_media else limits.dtls_per_client
        if len(held.packets) >= most or self._held_bytes + size > limits.held_bytes:
            return Answer.NOT_HELD
        held.packets.append(packet)
        self._held_bytes += size
        return Answer.HELD

    def _may_ask(self, now_ns: int) -> bool:
        """One more question within the rate (GCRA)."""
        paid_at_ns = max(self._paid_at_ns, now_ns)
        if paid_at_ns - now_ns > self._interval_ns * self._limits.burst:
            return False
        self._paid_at_ns = paid_at_ns + self._interval_ns
        return True

    def take(self, limit: int) -> list[Stranger]:
        """Those to be asked for now; each is to be given to `finish`."""
        batch = [stranger for stranger, _ in zip(self._waiting, range(limit), strict=False)]
        for stranger in batch:
            self._asked[stranger] = self._waiting.pop(stranger)
        return batch

    def finish(self, stranger: Stranger) -> Held:
        """What waited for an answer that is here."""
        held = self._asked.pop(stranger)
        self._held_bytes -= sum([len(packet.datagram) for packet in held.packets])
        return held

    def forget_waiting(self) -> Iterable[Held]:
        """What waited for a question that will not be asked, as there is nobody to ask."""
        for stranger in self.take(len(self._waiting)):
            yield self.finish(stranger)

    def miss(self, stranger: Stranger, now_ns: int) -> None:
        """Do not ask for a client again for a while."""
        self._turn(now_ns)
        if len(self._missing[0]) < self._limits.missing:
            self._missing[0].add(stranger)

    def _turn(self, now_ns: int) -> None:
        """Two generations, of which the older is dropped as a whole."""
        age_ns = now_ns - self._turned_at_ns
        if age_ns >= self._limits.missing_ns:
            old = self._missing[0] if age_ns < 2 * self._limits.missing_ns else set[Stranger]()
            self._missing = set(), old
            self._turned_at_ns = now_ns

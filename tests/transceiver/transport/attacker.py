"""A call in virtual time, with somebody on its network who overhears everything and loses nothing.

The attacker copies, replays, spoofs, delays, forwards, and is first each time; they cannot drop a packet, nor
make a check or media of the caller's. Packets travel `DELAY_NS` either way. What libsrtp would decide about
media is decided here: whether it is the caller's, and whether it has been seen.
"""

from __future__ import annotations

import heapq
import itertools
from collections import Counter
from collections.abc import Callable

from core import stun
from core.addr import Endpoint
from core.demux import PacketKind, classify_untrusted
from core.stun import MessageType
from tests.transceiver.transport.ice_kit import (
    MS,
    PACKET_BYTES,
    START,
    THEIRS,
    answer,
    anybody,
    build,
    make_agent,
    media,
)

DELAY_NS = 25 * MS
ROUND_TRIP_NS = 2 * DELAY_NS
TICK_NS = 20 * MS
SWEEP_NS = 500 * MS
HOME, MOVED, CELLULAR = (Endpoint("192.0.2.1", port) for port in (1001, 1002, 1003))
"""Addresses that are the caller's, one at a time."""
THIEF, SECOND_THIEF = Endpoint("203.0.113.66", 666), Endpoint("203.0.113.67", 667)
"""Where the attacker hears what comes."""
VICTIMS = tuple(Endpoint("198.18.0.1", 5000 + n) for n in range(200))
"""Strangers, whose addresses the attacker can only forge."""

Step = Callable[[], None]


class World:
    """One call of a caller who is at `at`, the session's agent, and the attacker."""

    def __init__(self, *, answers: bool = True) -> None:
        self.now_ns = START
        self.agent = make_agent()
        self.at = HOME
        self.answers = answers
        """Whether the caller answers checks."""
        self.copies_to: tuple[Endpoint, ...] = ()
        """Where the attacker sends a copy from of whatever the caller sends, before it arrives."""
        self.forwards = False
        """Whether checks of ours that reach the attacker reach the caller, as if they came from us."""
        self.is_server_speaking = True
        self.from_address: Counter[Endpoint] = Counter()
        self.to_address: Counter[Endpoint] = Counter()
        self.heard_ns: list[int] = []
        """When our media reached the caller."""
        self.overheard: list[bytes] = []
        """Everything that the caller has sent."""
        self._sent: set[bytes] = set()
        self._seen: set[bytes] = set()
        self._queue: list[tuple[int, int, Step]] = []
        self._order = itertools.count()
        self._packets = itertools.count()
        self._later(0, self._tick)
        self._later(0, self._sweep)

    # Time

    def _later(self, pause_ns: int, step: Step) -> None:
        heapq.heappush(self._queue, (self.now_ns + pause_ns, next(self._order), step))

    def run(self, span_ns: int) -> None:
        """Let that much time pass."""
        end_ns = self.now_ns + span_ns
        while self._queue[0][0] <= end_ns:
            self.now_ns, _, step = heapq.heappop(self._queue)
            step()
        self.now_ns = end_ns

    # The caller

    def check(self, *, nominate: bool = True) -> bytes:
        """A check of the caller's."""
        data = build(nominate=nominate).data
        self._send(data)
        return data

    def speak(self, span_ns: int) -> None:
        """20 ms of audio at a time for that long, and a check now and then, as browsers do."""
        for number in range(span_ns // TICK_NS):
            if number % 125 == 0:
                self.check()
            packet = media(next(self._packets))
            self._sent.add(packet)
            self._send(packet)
            self.run(TICK_NS)

    def stay_silent(self, span_ns: int) -> None:
        """Checks alone, for that long."""
        for _ in range(span_ns // (2_500 * MS)):
            self.check()
            self.run(2_500 * MS)
        self.run(span_ns % (2_500 * MS))

    def _send(self, datagram: bytes) -> None:
        source = self.at
        self.overheard.append(datagram)
        for copy in self.copies_to:
            self.inject(datagram, copy, DELAY_NS - 1)
        self.inject(datagram, source, DELAY_NS)

    # The attacker

    def inject(self, datagram: bytes, source: Endpoint, pause_ns: int = 0) -> None:
        """A datagram that seems to come from `source`."""
        self.from_address[source] += len(datagram)
        self._later(pause_ns, lambda: self._receive(datagram, source))

    # The network, towards the caller

    def _deliver(self, datagram: bytes, to: Endpoint) -> None:
        self.to_address[to] += len(datagram)
        self._later(DELAY_NS, lambda: self._arrive(datagram, to))

    def _arrive(self, datagram: bytes, to: Endpoint) -> None:
        is_media = classify_untrusted(datagram) is PacketKind.MEDIA
        if to == self.at and is_media:
            self.heard_ns.append(self.now_ns)
        elif to == self.at and self.answers:
            self._answer(datagram, to)
        elif to in (THIEF, SECOND_THIEF) and self.forwards and self.answers and not is_media:
            # Our address forged, so the caller answers us; the attacker is first with that, from their own.
            self._answer(datagram, to)

    def _answer(self, datagram: bytes, source: Endpoint) -> None:
        message = stun.parse_untrusted(datagram)
        if message.type == MessageType.BINDING_REQUEST:
            answered = answer(datagram, THEIRS).data
            self.overheard.append(answered)
            for copy in self.copies_to:
                self.inject(answered, copy, DELAY_NS - 1)
            self.inject(answered, source, DELAY_NS)

    # The session

    def _receive(self, datagram: bytes, source: Endpoint) -> None:
        agent, now_ns = self.agent, self.now_ns
        if classify_untrusted(datagram) is PacketKind.MEDIA:
            self._receive_media(datagram, source)
            return
        message = stun.parse_untrusted(datagram)
        if message.type == MessageType.BINDING_REQUEST:
            for reply in agent.receive_check_untrusted(message, source, anybody, now_ns).replies:
                self._deliver(reply, source)
        else:
            agent.receive_answer_untrusted(message, source, anybody, now_ns)

    def _receive_media(self, datagram: bytes, source: Endpoint) -> None:
        check = None
        if datagram in self._sent and datagram not in self._seen:
            self._seen.add(datagram)
            check = self.agent.hear_media(datagram, source, anybody, self.now_ns)
        elif self.agent.is_copy_untrusted(datagram):
            check = self.agent.hear_copy(datagram, source, self.now_ns)
        if check is not None:
            self._deliver(check, source)

    def _tick(self) -> None:
        self._later(TICK_NS, self._tick)
        paths = self.agent.paths
        paths.expire(self.now_ns)
        if self.is_server_speaking:
            packet = b"\x80\x6f" + bytes(PACKET_BYTES - 2)
            for way in (*paths.ways, *paths.lifelines(self.now_ns)):
                if self.agent.pay(way, len(packet), is_media=True):
                    self._deliver(packet, way)

    def _sweep(self) -> None:
        self._later(SWEEP_NS, self._sweep)
        for endpoint, check in self.agent.due_checks(self.now_ns):
            self._deliver(check, endpoint)

    # What is to hold

    def connect(self) -> None:
        """The first check, and a second of talking."""
        self.check()
        self.run(100 * MS)
        self.speak(1_000 * MS)

    def heard_share(self, since_ns: int) -> float:
        """Of what we have sent since then, what the caller has heard, the last round trip apart."""
        due = (self.now_ns - ROUND_TRIP_NS - since_ns) // TICK_NS
        heard = sum(since_ns + DELAY_NS <= at_ns <= self.now_ns for at_ns in set(self.heard_ns))
        return min(1.0, heard / due)

    def amplification(self, address: Endpoint) -> float:
        """Bytes to an address for each that came from it, or seemed to."""
        return self.to_address[address] / max(1, self.from_address[address])

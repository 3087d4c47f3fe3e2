"""What the relay does with a datagram: the verdict, what follows from it, and the count."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from enum import StrEnum
from typing import Generic, Protocol

from core.addr import Endpoint, IpFamily
from edge.relay.counters import FIRST_PACKET_BUCKETS_NS, REFUSAL_INDEXES, Counters, Direction, counter_index
from edge.relay.decide import Relay
from edge.relay.forwarder import F, Forwarder, Sockaddr, Stranger, VipIndex
from edge.relay.verdict import FORWARD, Action, RelayReason, Verdict

_RECEIVED = (
    counter_index("received_packets", Direction.UPSTREAM),
    counter_index("received_bytes", Direction.UPSTREAM),
)
_REFUSED = (
    counter_index("packets", Direction.UPSTREAM, "refused"),
    counter_index("bytes", Direction.UPSTREAM, "refused"),
)
_FIRST_BUCKETS = tuple(
    counter_index("first_packet_bucket", str(bound)) for bound in (*FIRST_PACKET_BUCKETS_NS, "inf")
)
_FIRST_SUM = counter_index("first_packet_sum_ns")


_OF_KNOWN = frozenset({Action.FORWARD, Action.FORWARD_BOTH, Action.REBIND_UFRAG})
RECALLABLE = frozenset({RelayReason.UNKNOWN_FLOW_DTLS, RelayReason.UNKNOWN_FLOW_MEDIA})
"""What a flow that another relay knows sends between two checks."""


class Recall(Protocol):
    """What asks for the records of other relays, and keeps those of our own; it never keeps us waiting."""

    @property
    def is_asking(self) -> bool:
        """Whether anybody is being asked for."""

    def has_enough(self, datagram: memoryview, stranger: Stranger) -> bool:
        """Whether a datagram is media of a client that is being asked for, and for more of which there is no
        room. To be asked before the client's flow is looked for: it has none.
        """

    def hold(self, datagram: memoryview, stranger: Stranger, reason: RelayReason, now_ns: int) -> bool:
        """Whether a datagram waits until its client was asked for; `reason` is its refusal if not found."""

    def changed(self, place: int | None, stranger: Stranger, ufrag: bytes) -> None:
        """A flow is new or has another ufrag, at a place of ours or at another worker's."""


class SlowPath(Generic[F]):
    """Applies a relay's verdicts to the flows of a forwarder. Every datagram that comes in is counted
    once as received and once as forwarded, refused (by reason) or failed (by error); what waits for a
    neighbour is counted when its wait is over.
    """

    def __init__(
        self, relay: Relay, forwarder: Forwarder[F], counters: Counters, monotonic_ns: Callable[[], int]
    ) -> None:
        """`monotonic_ns` is read once for each new flow, when its first packet has been sent on."""
        self.relay = relay
        self.forwarder = forwarder
        self.recall: Recall | None = None
        """Where a store is configured."""
        forwarder.on_promoted = self._tell_promoted
        self._values = counters.values
        self._monotonic_ns = monotonic_ns

    def receive_untrusted(
        self,
        datagram: memoryview,
        client: Sockaddr,
        vip: VipIndex,
        family: IpFamily,
        now_ns: int,
        now_min: int,
    ) -> None:
        """Deal with one datagram from a client.

        `now_ns` is when the wake-up began that read it, monotonic; `now_min` minutes since the Unix epoch.
        """
        values, forwarder, recall = self._values, self.forwarder, self.recall
        values[_RECEIVED[0]] += 1
        values[_RECEIVED[1]] += len(datagram)
        if recall is not None and recall.is_asking and recall.has_enough(datagram, Stranger(vip, client)):
            self.refuse(RelayReason.UNKNOWN_FLOW_MEDIA, len(datagram))
            return
        flow = forwarder.find(client, vip, now_ns)
        rival = None if flow is None else forwarder.rival_of(flow, now_ns)
        verdict = self.relay.decide_untrusted(datagram, family, flow, rival, now_min)
        if verdict is FORWARD and flow is not None:
            forwarder.forward(flow, datagram, now_ns)
            return
        if rival is not None and verdict.action in _OF_KNOWN:
            assert flow is not None
            self._apply_at_contested(verdict, flow, rival, datagram, now_ns)
            return
        refusal = self._apply(verdict, flow, datagram, Stranger(vip, client), now_ns)
        if refusal is None or (
            recall is not None
            and refusal in RECALLABLE
            and recall.hold(datagram, Stranger(vip, client), RelayReason(refusal), now_ns)
        ):
            return
        self.refuse(refusal, len(datagram))

    def refuse(self, reason: StrEnum, size: int) -> None:
        """Count a datagram of `size` bytes that goes no further."""
        values = self._values
        values[REFUSAL_INDEXES[reason]] += 1
        values[_REFUSED[0]] += 1
        values[_REFUSED[1]] += size

    def restore(self, verdict: Verdict, stranger: Stranger, now_ns: int) -> F | StrEnum:
        """The flow that the verdict on a record says, or why there is none."""
        if verdict.transceiver is None:
            assert verdict.reason is not None
            return verdict.reason
        if not stranger.client[1]:
            return RelayReason.NO_SOURCE_PORT
        return self.forwarder.install(stranger, verdict.ufrag, verdict.transceiver, now_ns, is_restored=True)

    def _apply(
        self, verdict: Verdict, flow: F | None, datagram: memoryview, stranger: Stranger, now_ns: int
    ) -> StrEnum | None:
        """Carry out a verdict that is not a plain FORWARD; the reason if it ended in a refusal."""
        if verdict.transceiver is None:
            return verdict.reason
        if not stranger.client[1]:
            return RelayReason.NO_SOURCE_PORT
        if flow is not None and verdict.action is Action.REBIND_UFRAG:
            self._rebind(flow, verdict.ufrag, stranger)
            self.forwarder.forward(flow, datagram, now_ns)
            return None
        if flow is None:
            new = self.forwarder.install(stranger, verdict.ufrag, verdict.transceiver, now_ns)
        else:
            new = self._contest(verdict.ufrag, verdict.transceiver, flow, stranger, now_ns)
        if isinstance(new, RelayReason):
            return new
        self._tell_changed(new, stranger, verdict.ufrag)
        if self.forwarder.forward(new, datagram, now_ns):
            self._observe_first_packet(self._monotonic_ns() - now_ns)
        return None

    def _contest(
        self, ufrag: bytes, transceiver: Endpoint, flow: F, stranger: Stranger, now_ns: int
    ) -> F | RelayReason:
        """A flow of another call at the address of a flow: its rival or, where two cannot be carried side by
        side, its successor.
        """
        rival = self.forwarder.contest(flow, ufrag, transceiver, now_ns)
        if rival is not RelayReason.FLOW_IN_USE:
            return rival
        if now_ns - flow.last_downstream_ns < self.relay.takeover_silence_ns:
            return RelayReason.FLOW_IN_USE
        self.forwarder.remove(flow, now_ns)
        left = self.forwarder.find(stranger.client, stranger.vip, now_ns)
        if left is not None:  # the rival that there was
            return self.forwarder.contest(left, ufrag, transceiver, now_ns)
        return self.forwarder.install(stranger, ufrag, transceiver, now_ns)

    def _apply_at_contested(
        self, verdict: Verdict, flow: F, rival: F, datagram: memoryview, now_ns: int
    ) -> None:
        """Carry out a verdict about the flows of an address that two calls have."""
        chosen = rival if verdict.is_of_rival else flow
        if verdict.action is Action.REBIND_UFRAG:
            self._rebind(chosen, verdict.ufrag, Stranger(flow.vip, flow.client))
        elif verdict.action is Action.FORWARD_BOTH:
            self.forwarder.copy(rival, datagram, now_ns)
        self.forwarder.forward(chosen, datagram, now_ns)

    def _rebind(self, flow: F, ufrag: bytes, stranger: Stranger) -> None:
        self.forwarder.rebind_ufrag(flow, ufrag)
        self._tell_changed(flow, stranger, ufrag)

    def _tell_changed(self, flow: F, stranger: Stranger, ufrag: bytes) -> None:
        if self.recall is not None:
            self.recall.changed(self.forwarder.place_of(flow), stranger, ufrag)

    def _tell_promoted(self, flow: F) -> None:
        """A rival has the address alone, which a store is to know."""
        self._tell_changed(flow, Stranger(flow.vip, flow.client), b"")

    def _observe_first_packet(self, duration_ns: int) -> None:
        self._values[_FIRST_BUCKETS[bisect_left(FIRST_PACKET_BUCKETS_NS, duration_ns)]] += 1
        self._values[_FIRST_SUM] += duration_ns

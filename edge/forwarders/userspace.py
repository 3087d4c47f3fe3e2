"""The `userspace` forwarder: one connected UDP socket per flow.

A connected socket is what makes this safe and simple: the kernel drops whatever does not come from the
flow's transceiver, so nobody else can send to a client through it, and the socket that a packet comes
out of says which client it is for. The client is answered from the VIP socket that it sent to, which is
bound to one address, so the source is always the VIP.

All upstream sockets are in an epoll set of our own, of which the event loop sees one descriptor: a
wake-up then costs one callback, whatever the number of flows that have something to say, and a flow
costs no loop handle.
"""

from __future__ import annotations

import asyncio
import select
import socket
from collections.abc import Callable, Sequence

from core.addr import Endpoint, from_sockaddr, pack_address
from edge.forwarders.life import SILENCE_NS, UNCONFIRMED_NS
from edge.forwarders.newcomers import Newcomer, Source, source_of
from edge.forwarders.room import Room
from edge.forwarders.sweep import EXPELLING, REMOVALS_PER_SWEEP, TICK_S, Patience, part_of
from edge.forwarders.tally import DOWN, DOWN_FAILED, RECEIVED_DOWN, UP, FlowTally, count_up_failed
from edge.forwarders.userspace_flow import UserspaceFlow, connect
from edge.relay.counters import (
    PENDING_ERRORS,
    SEND_FAILURES,
    Counters,
    Direction,
    Removal,
    SendError,
    classify_error,
    counter_index,
)
from edge.relay.forwarder import MAX_CONTESTS, Holder, Sockaddr, Stranger, VipIndex
from edge.relay.verdict import RelayReason

DATAGRAM_BYTES = 65536
"""More than any UDP payload, so nothing is cut."""
FLOWS_PER_WAKEUP = 64
PACKETS_PER_FLOW = 8
"""What one flow may take of a wake-up. The rest waits for the next one, behind everyone else."""
REST_AFTER_REMOVALS_S = 0.002

_UP_PACKETS, _UP_BYTES = UP
_DOWN_FAILURES = {
    error: counter_index("send_failures", direction, error)
    for direction, error in SEND_FAILURES
    if direction is Direction.DOWNSTREAM
}
_PENDING_ERRORS = {
    e: counter_index("pending_errors", e if e in PENDING_ERRORS else SendError.OTHER) for e in SendError
}


class UserspaceForwarder:
    """See `edge.relay.forwarder.Forwarder`."""

    name = "userspace"

    def __init__(
        self,
        vips: Sequence[socket.socket],
        max_flows: int,
        idle_timeout_ns: int,
        counters: Counters,
        monotonic_ns: Callable[[], int],
    ) -> None:
        """`vips` are bound, non-blocking sockets that stay the caller's. `monotonic_ns` is read once for each
        wake-up by what transceivers send.
        """
        self.idle_timeout_ns = idle_timeout_ns
        self.answer_timeout_ns = SILENCE_NS
        self.is_expelling = False
        self._counters = counters
        self._values = counters.values
        self._send_to_client = [vip.sendto for vip in vips]
        self._by_client: list[dict[Sockaddr, UserspaceFlow]] = [{} for _ in vips]
        self._by_fd: dict[int, UserspaceFlow] = {}
        self._by_ufrag: dict[bytes, list[UserspaceFlow]] = {}
        self.on_promoted: Callable[[UserspaceFlow], None] = lambda flow: None
        self._contested = 0
        self._room = Room(max_flows, self._is_confirmed)
        self._monotonic_ns = monotonic_ns
        self._table: list[UserspaceFlow | None] = []
        self._free: list[int] = []
        self._sweep_position = 0
        self._epoll = select.epoll()
        self._buffer = bytearray(DATAGRAM_BYTES)
        self._view = memoryview(self._buffer)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tally = FlowTally(counters, flows=0)

    def __len__(self) -> int:
        return len(self._by_fd)

    def find(self, client: Sockaddr, vip: VipIndex, now_ns: int) -> UserspaceFlow | None:
        """The flow of a client address at a VIP."""
        return self._by_client[vip].get(client)

    def install(
        self,
        stranger: Stranger,
        ufrag: bytes,
        transceiver: Endpoint,
        now_ns: int,
        *,
        is_restored: bool = False,
    ) -> UserspaceFlow | RelayReason:
        """Open the flow's socket and enter it everywhere."""
        source = source_of(pack_address(stranger.client[0].partition("%")[0]))
        newcomer = Newcomer(source, ufrag, now_ns, is_restored)
        return self._count_install(self._install(stranger, transceiver, ufrag, newcomer))

    def _count_install(self, outcome: UserspaceFlow | RelayReason) -> UserspaceFlow | RelayReason:
        if isinstance(outcome, RelayReason):
            self._tally.refused(outcome)
        else:
            self._tally.installed(len(self._by_fd))
            self._tally.unconfirmed(len(self._room.newcomers))
        return outcome

    def _install(
        self, stranger: Stranger, transceiver: Endpoint, ufrag: bytes, newcomer: Newcomer
    ) -> UserspaceFlow | RelayReason:
        refusal = self._make_room(newcomer.source, ufrag, newcomer.began_ns)
        if refusal is not None:
            return refusal
        upstream = connect(transceiver)
        if isinstance(upstream, RelayReason):
            return upstream
        if not self._free:
            self._free.append(len(self._table))
            self._table.append(None)
        now_ns, place = newcomer.began_ns, self._free.pop()
        flow = UserspaceFlow(
            stranger.client,
            stranger.vip,
            ufrag,
            transceiver,
            now_ns,
            upstream,
            place,
            newcomer.source,
            now_ns,
        )
        self._table[place] = flow
        self._enter(flow)
        self._by_fd[upstream.fileno()] = flow
        self._by_ufrag.setdefault(ufrag, []).append(flow)
        self._room.begin(place, newcomer)
        self._epoll.register(upstream.fileno(), select.EPOLLIN)
        return flow

    def _enter(self, flow: UserspaceFlow) -> None:
        """Let its address lead to a flow: alone, or as the rival of who has it."""
        owner = self._by_client[flow.vip].setdefault(flow.client, flow)
        if owner is not flow:
            flow.owner, owner.rival = owner, flow
            self._contested += 1
            self._tally.contested(self._contested)

    def _leave(self, flow: UserspaceFlow) -> None:
        """Let its address lead to a flow no more; what is left there has it alone."""
        left = flow.owner or flow.rival
        if left is None:
            del self._by_client[flow.vip][flow.client]
            return
        self._contested -= 1
        self._tally.contested(self._contested)
        if left is flow.rival:
            self._by_client[flow.vip][flow.client] = left
            self.on_promoted(left)
        left.owner = left.rival = flow.owner = flow.rival = None

    def rival_of(self, flow: UserspaceFlow, now_ns: int) -> UserspaceFlow | None:
        """The other flow of its address."""
        return flow.rival

    def contest(
        self, flow: UserspaceFlow, ufrag: bytes, transceiver: Endpoint, now_ns: int
    ) -> UserspaceFlow | RelayReason:
        """Another flow of the same address."""
        if flow.rival is not None or self._contested >= MAX_CONTESTS:
            return RelayReason.FLOW_IN_USE
        newcomer = Newcomer(flow.source, ufrag, now_ns, is_restored=False)
        stranger = Stranger(flow.vip, flow.client)
        return self._count_install(self._install(stranger, transceiver, ufrag, newcomer))

    def copy(self, flow: UserspaceFlow, datagram: memoryview, now_ns: int) -> None:
        """Send to the transceiver of a rival. What an ICMP error has lost is not sent again."""
        flow.last_upstream_ns = now_ns
        try:
            flow.send(datagram)
        except OSError as error:
            self._counters.add(_PENDING_ERRORS[classify_error(error)])
            self._tally.copied(is_sent=False)
        else:
            self._tally.copied(is_sent=True)

    def _make_room(self, source: Source, ufrag: bytes, now_ns: int) -> RelayReason | None:
        """End who has to go for one more flow; or why there is none."""
        refusal = self._room.refusal(source, ufrag, len(self._by_fd), self._silences(ufrag, now_ns))
        if refusal is not None:
            return refusal
        while True:
            flows = len(self._by_fd)
            place = self._room.next_to_go(source, ufrag, flows, self._silences(ufrag, now_ns))
            flow = None if place is None else self._table[place]
            if flow is None:
                return None
            self._remove(flow, Removal.EVICTED)

    def _silences(self, ufrag: bytes, now_ns: int) -> list[tuple[int, int]]:
        """Of the flows of a ufrag, the places, and for how long their transceivers are silent."""
        return [(flow.place, now_ns - flow.last_downstream_ns) for flow in self._by_ufrag.get(ufrag, ())]

    def _is_confirmed(self, place: int) -> bool:
        flow = self._table[place]
        return flow is None or flow.is_confirmed

    def rebind_ufrag(self, flow: UserspaceFlow, ufrag: bytes) -> None:
        """Only the label changes: the socket, and so the source that the transceiver sees, stays."""
        self._leave_ufrag(flow)
        flow.ufrag = ufrag
        self._by_ufrag.setdefault(ufrag, []).append(flow)
        self._room.newcomers.rename(flow.place, ufrag)
        self._tally.rebound()

    def remove(self, flow: UserspaceFlow, now_ns: int) -> None:
        """End a flow that makes room for another."""
        self._remove(flow, Removal.MOVED)

    def _remove(self, flow: UserspaceFlow, cause: Removal) -> None:
        del self._by_fd[flow.socket.fileno()]
        self._leave(flow)
        self._table[flow.place] = None
        self._free.append(flow.place)
        self._leave_ufrag(flow)
        self._room.end(flow.place, flow.source)
        flow.socket.close()  # which also takes it out of the epoll set: there is no other reference
        self._tally.removed(cause, len(self._by_fd))
        self._tally.unconfirmed(len(self._room.newcomers))

    def _leave_ufrag(self, flow: UserspaceFlow) -> None:
        flows = self._by_ufrag[flow.ufrag]
        flows.remove(flow)
        if not flows:
            del self._by_ufrag[flow.ufrag]

    def place_of(self, flow: UserspaceFlow) -> int:
        """Its index in the table."""
        return flow.place

    def holder(self, place: int) -> Holder | None:
        """Whose a place is."""
        flow = self._table[place] if place < len(self._table) else None
        if flow is None or flow.owner is not None:
            return None
        return Holder(from_sockaddr(flow.client), flow.vip, flow.ufrag)

    def live_places(self) -> list[int]:
        """The places of all flows, ascending."""
        return [place for place, flow in enumerate(self._table) if flow is not None]

    def forward(self, flow: UserspaceFlow, datagram: memoryview, now_ns: int) -> bool:
        """Send to the transceiver."""
        flow.last_upstream_ns = now_ns
        values = self._values
        try:
            flow.send(datagram)
        except OSError as error:
            if not self._send_again(flow, datagram, error):
                return False
        values[_UP_PACKETS] += 1
        values[_UP_BYTES] += len(datagram)
        return True

    def _send_again(self, flow: UserspaceFlow, datagram: memoryview, first: OSError) -> bool:
        """An ICMP error about an earlier packet is reported by the next call, which then sends nothing:
        only the second try tells what is true of this packet.
        """
        reason = classify_error(first)
        if reason is not SendError.WOULD_BLOCK:
            try:
                flow.send(datagram)
            except OSError as error:
                reason = classify_error(error)
            else:
                self._counters.add(_PENDING_ERRORS[reason])
                return True
        count_up_failed(self._counters, reason, len(datagram))
        return False

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Let the loop watch the epoll set."""
        self._loop = loop
        loop.add_reader(self._epoll.fileno(), self.carry_downstream)

    def carry_downstream(self) -> None:
        """Carry what the transceivers sent, a bounded number of packets of each flow."""
        by_fd, now_ns = self._by_fd, self._monotonic_ns()
        for fd, _ in self._epoll.poll(0, FLOWS_PER_WAKEUP):
            self._carry_flow(by_fd[fd], now_ns)

    def _carry_flow(self, flow: UserspaceFlow, now_ns: int) -> None:
        buffer, view, client = self._buffer, self._view, flow.client
        receive, send = flow.socket.recv_into, self._send_to_client[flow.vip]
        received = received_bytes = failed = failed_bytes = 0
        for _ in range(PACKETS_PER_FLOW):
            try:
                size = receive(buffer)
            except BlockingIOError:
                break
            except OSError as error:
                self._counters.add(_PENDING_ERRORS[classify_error(error)])
                continue
            received += 1
            received_bytes += size
            try:
                send(view[:size], client)
            except OSError as error:
                failed += 1
                failed_bytes += size
                self._counters.add(_DOWN_FAILURES[classify_error(error)])
        if received:
            flow.last_downstream_ns = now_ns
            if not flow.is_confirmed:
                self._confirm(flow)
        values = self._values
        values[RECEIVED_DOWN.packets] += received
        values[RECEIVED_DOWN.bytes] += received_bytes
        values[DOWN.packets] += received - failed
        values[DOWN.bytes] += received_bytes - failed_bytes
        values[DOWN_FAILED.packets] += failed
        values[DOWN_FAILED.bytes] += failed_bytes

    def _confirm(self, flow: UserspaceFlow) -> None:
        flow.is_confirmed = True
        self._room.newcomers.discard(flow.place)
        self._tally.unconfirmed(len(self._room.newcomers))

    def sweep(self, now_ns: int) -> float:
        """End flows. Closing a socket costs as much as a packet, so there are rests in between."""
        removals = 0
        for place in self._room.newcomers.overdue(now_ns - UNCONFIRMED_NS, REMOVALS_PER_SWEEP):
            flow = self._table[place]
            assert flow is not None, "it would have been discarded"
            self._remove(flow, Removal.UNANSWERED)
            removals += 1
        patience = EXPELLING if self.is_expelling else Patience(self.idle_timeout_ns, self.answer_timeout_ns)
        table = self._table
        position = self._sweep_position
        for _ in range(part_of(len(table), patience.shorter_ns)):
            if removals == REMOVALS_PER_SWEEP:
                break
            position = position + 1 if position + 1 < len(table) else 0
            flow = table[position]
            cause = None if flow is None else self._cause_of_end(flow, patience, now_ns)
            if flow is not None and cause is not None:
                self._remove(flow, cause)
                removals += 1
        self._sweep_position = position
        return REST_AFTER_REMOVALS_S if removals == REMOVALS_PER_SWEEP else TICK_S

    def _cause_of_end(self, flow: UserspaceFlow, patience: Patience, now_ns: int) -> Removal | None:
        """Why a flow is to end; None: it is not."""
        if now_ns - flow.last_upstream_ns > patience.client_ns:
            return Removal.DRAINED if self.is_expelling else Removal.IDLE
        if now_ns - flow.last_downstream_ns > patience.transceiver_ns:
            return Removal.UNANSWERED
        return None

    def close(self) -> None:
        """Close every upstream socket; the VIP sockets are not ours."""
        if self._loop is not None:
            self._loop.remove_reader(self._epoll.fileno())
        for flow in list(self._by_fd.values()):
            flow.socket.close()
        self._epoll.close()

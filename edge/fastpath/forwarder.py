"""The `xdp` forwarder: flows are records in the maps of the fast path, which carries them by itself.

The maps are the truth, not this process: a flow is whatever a record says, so the worker may die and its
successor finds all of them. What is kept here beside the maps is which slots are free, and the marks.

A flow begins as whole records in a slot that has rested, one for each direction, switched on last; then
comes what leads the client's packets to it, in the index. It ends in the opposite order: switched off, led
to no more, and the slot rests. The program compares each record with the packet before it uses it, so at no
moment of this can a packet be sent by another flow's record. A record that lives is written to in three
places only, each of them one store: its state, its next hops and the mark of its ufrag.

Each worker hands out slots of its own, but any worker may get a client's packets, after their number has
changed for instance; so flows are found in the index and not in a table of the worker's.
"""

from __future__ import annotations

import asyncio
import logging
import math
import socket
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from core.addr import Endpoint
from ebpf import layout
from ebpf.clock import SeenClock
from ebpf.errors import MapError, MapFullError
from core.addr import pack_address
from ebpf.flows import FlowRecord, ufrag_mark
from ebpf.index import Index
from ebpf.tables import Tables
from edge.fastpath.flow import XdpFlow
from edge.fastpath.flow_nexthops import FAMILIES, FlowNextHops
from edge.fastpath.nat_slots import REST_NS, Columns, Slots
from edge.fastpath.pending_packets import PendingPackets
from edge.fastpath.raw_send import RawSender
from edge.fastpath.transceiver_ids import Transceivers
from edge.nexthops.fib import NOWHERE
from edge.relay.counters import Counters, Direction, Removal, SendError, classify_error, counter_index
from edge.relay.forwarder import MAX_ADDRESSES_PER_TOKEN, Sockaddr
from edge.relay.verdict import RelayReason

logger = logging.getLogger(__name__)

SWEEP_TICK_S = 0.05
SWEEPS_PER_TIMEOUT = 8
"""A flow is looked at this often in an idle timeout, so it ends at most an eighth late."""
SWEEP_AT_LEAST = 1024
SLOTS_AT_ONCE = 2048
"""Enough to pay for the call, few enough to be looked at again where a sweep had to stop among them."""
REMOVALS_AT_ONCE, REMOVALS_WHEN_LATE = 32, 128
"""First packets wait meanwhile, so it is as few as will do: more only once a round of the table takes twice
the time that it has.
"""
REST_AFTER_REMOVALS_S = 0.001

_UP = (
    counter_index("packets", Direction.UPSTREAM, "forwarded"),
    counter_index("bytes", Direction.UPSTREAM, "forwarded"),
)
_UP_FAILED = (
    counter_index("packets", Direction.UPSTREAM, "failed"),
    counter_index("bytes", Direction.UPSTREAM, "failed"),
)
_FLOWS = counter_index("flows")
_SEND_FAILURES = {error: counter_index("send_failures", Direction.UPSTREAM, error) for error in SendError}
_INSTALLED, _RELABELLED = counter_index("installs", "installed"), counter_index("installs", "rebound")
_ADOPTED = counter_index("installs", "adopted")
_REMOVALS = {cause: counter_index("removals", cause) for cause in Removal}


class XdpForwarder:
    """See `edge.relay.forwarder.Forwarder`."""

    name = "xdp"

    def __init__(
        self,
        tables: Tables,
        index: Index,
        clock: SeenClock,
        slots: Mapping[int, Slots],
        vip_ids: Sequence[int],
        backbones: Mapping[int, Mapping[int, str]],
        transceivers: Mapping[int, Transceivers],
        max_flows: int,
        idle_timeout_ns: int,
        counters: Counters,
        ask: Callable[[list[str]], None],
        rest_ns: int = REST_NS,
    ) -> None:
        """`slots`, `transceivers`, and `backbones` as index → address, are by IP version. `ask` asks the
        supervisor for the next hops of hosts on a link. Raises PermissionError without CAP_NET_RAW.
        """
        self.idle_timeout_ns = idle_timeout_ns
        self._sender = RawSender()
        self._tables = tables
        self._index = index
        self._clock = clock
        self._slots = slots
        self._vip_ids = vip_ids
        self._backbone_packed = {
            version: {index: pack_address(host) for index, host in hosts.items()}
            for version, hosts in backbones.items()
        }
        self.hops = FlowNextHops(tables, slots, transceivers, ask)
        """To be told what the supervisor says."""
        self._columns = {version: Columns(records) for version, records in tables.records.items()}
        self._max_flows = max_flows
        self._counters = counters
        self._values = counters.values
        self._rest_ns = rest_ns
        self._sweep_began_ns = dict.fromkeys(slots, 0)
        self._pending = PendingPackets(self._has_usable_nexthops, self._send)
        self._sweep_from = dict.fromkeys(slots, 0)
        self._finish_ended()
        self._count_adopted()

    def _finish_ended(self) -> None:
        """End in whole what a worker before this one did not come to the end of."""
        for version, slots in self._slots.items():
            off = slots.numbers[~slots.is_live]
            downstream = self._tables.records[version][layout.DOWNSTREAM]["common"]["state"]
            downstream[off[downstream[off] == layout.SLOT_LIVE]] = layout.SLOT_OFF
            for number in np.intersect1d(self._tables.linked(version), off).tolist():
                self._index.unlink(version, number)

    def _count_adopted(self) -> None:
        """Installed and adopted minus removed is the number of flows, also after a worker before this one."""
        found, before = len(self), self._values[_FLOWS]
        self._counters.add(_ADOPTED, max(found - before, 0))
        self._counters.add(_REMOVALS[Removal.LOST], max(before - found, 0))
        self._values[_FLOWS] = found

    def __len__(self) -> int:
        return sum(slots.live for slots in self._slots.values())

    def set_dscp(self, dscp: int | None) -> None:
        """The DSCP of what is sent from here, which is what the program gives to what follows."""
        self._sender.traffic_class = (dscp or 0) << 2

    def find(self, client: Sockaddr, vip: int) -> XdpFlow | None:
        """The flow of a client address at a VIP, whichever worker's it is."""
        version = 6 if len(client) == 4 else 4
        number = self._index.find(Endpoint(client[0].partition("%")[0], client[1]), self._vip_ids[vip])
        if not number:
            return None
        heard = int(self._columns[version].heard[number])
        return XdpFlow(
            client, vip, version, number, int(self._tables.marks[version][number]),
            _transceiver(self._tables.records[version][layout.DOWNSTREAM][number], version),
            self._clock.time_of(heard, time.monotonic_ns()),
        )  # fmt: skip

    def install(
        self, client: Sockaddr, vip: int, ufrag: bytes, transceiver: Endpoint, now_ns: int
    ) -> XdpFlow | RelayReason:
        """Write a flow's record and the entry that leads to it."""
        outcome = self._install(client, vip, ufrag, transceiver, now_ns)
        if isinstance(outcome, RelayReason):
            self._counters.add(counter_index("installs", outcome))
        else:
            self._counters.add(_INSTALLED)
            self._values[_FLOWS] = len(self)
        return outcome

    def _install(
        self, client: Sockaddr, vip: int, ufrag: bytes, transceiver: Endpoint, now_ns: int
    ) -> XdpFlow | RelayReason:
        endpoint = Endpoint(client[0].partition("%")[0], client[1])
        version = 6 if len(client) == 4 else 4
        slots, mark = self._slots[version], ufrag_mark(ufrag)
        if slots.addresses[mark] >= MAX_ADDRESSES_PER_TOKEN:
            return RelayReason.TOO_MANY_ADDRESSES
        if len(self) >= self._max_flows:
            return RelayReason.TABLE_FULL
        up, down = self.hops.lookup(transceiver.host), self.hops.lookup(endpoint.host)
        if NOWHERE in (up, down):
            return RelayReason.UNREACHABLE
        leads_to = self.hops.transceiver(version, transceiver, up, now_ns)
        if leads_to is None:
            return RelayReason.TABLE_FULL
        number = slots.take(self._index.groups(endpoint), mark, now_ns)
        if number is None:
            return RelayReason.NO_NAT_PORT
        record = FlowRecord(number, endpoint, self._vip_ids[vip], transceiver, leads_to, down or NOWHERE)
        self._tables.write_slot(record, mark, self._clock.stamp(now_ns))
        try:
            self._index.link(version, number)
        except MapError as error:
            self._give_back(slots, version, number, now_ns)
            if not isinstance(error, MapFullError):
                logger.error("%s", error)
            return RelayReason.TABLE_FULL
        if down is None:
            self.hops.await_client(version, number, endpoint.host)
        return XdpFlow(client, vip, version, number, mark, transceiver, now_ns)

    def _give_back(self, slots: Slots, version: int, number: int, now_ns: int) -> None:
        """A record that no client was led to yet; but its transceiver might have sent something."""
        self._tables.set_slot_state(version, number, layout.SLOT_OFF)
        position = slots.position_of(number)
        assert position is not None, "it was taken from there"
        slots.release(position, now_ns + self._rest_ns)

    def rebind_ufrag(self, flow: XdpFlow, ufrag: bytes) -> None:
        """Let a flow go by another ufrag in the slot that it has: the transceiver sees the same source."""
        mark = ufrag_mark(ufrag)
        self._tables.marks[flow.family][flow.slot] = mark
        slots = self._slots[flow.family]
        position = slots.position_of(flow.slot)
        if position is not None:
            slots.mark(position, mark)
        self._counters.add(_RELABELLED)

    def remove(self, flow: XdpFlow) -> None:
        """End a flow that makes room for another."""
        self._end(flow.family, flow.slot)
        slots = self._slots[flow.family]
        position = slots.position_of(flow.slot)
        if position is not None:  # else its worker finds it switched off
            self._release(slots, position, Removal.MOVED)

    def _end(self, version: int, number: int) -> None:
        """Switch a slot off, then remove the entry that leads to it, if one still does."""
        self._tables.set_slot_state(version, number, layout.SLOT_OFF)
        self._index.unlink(version, number)

    def _release(self, slots: Slots, position: int, cause: Removal) -> None:
        slots.release(position, time.monotonic_ns() + self._rest_ns)
        self._values[_FLOWS] = len(self)
        self._counters.add(_REMOVALS[cause])

    def forward(self, flow: XdpFlow, datagram: memoryview, now_ns: int) -> bool:
        """Send from the flow's NAT port, as the program would have done; False too when it is to wait."""
        self._columns[flow.family].heard[flow.slot] = self._clock.stamp(now_ns)
        return not self._pending.take(flow, datagram, now_ns) and self._send(flow, datagram.tobytes())

    def _has_usable_nexthops(self, flow: XdpFlow) -> bool:
        """Whether the program can send both ways. What has become another flow's slot need not wait."""
        is_live = self._columns[flow.family].state[flow.slot] == layout.SLOT_LIVE
        return not is_live or self.hops.has_usable_nexthops(flow.family, flow.slot)

    def _send(self, flow: XdpFlow, datagram: bytes) -> bool:
        values, size = self._values, len(datagram)
        backbone = self._backbone_packed[flow.family][flow.slot // layout.PORTS]
        to = flow.transceiver
        try:
            self._sender.send(backbone, flow.slot % layout.PORTS, to, pack_address(to.host), datagram)
        except OSError as error:
            values[_UP_FAILED[0]] += 1
            values[_UP_FAILED[1]] += size
            self._counters.add(_SEND_FAILURES[classify_error(error)])
            return False
        values[_UP[0]] += 1
        values[_UP[1]] += size
        return True

    def sweep(self, now_ns: int) -> float:
        """End idle flows, and take back slots that others switched off."""
        self._clock.adjust()
        behind = [self._sweep_part(version, now_ns) for version, slots in self._slots.items() if slots.live]
        return REST_AFTER_REMOVALS_S if any(behind) else SWEEP_TICK_S

    def _sweep_part(self, version: int, now_ns: int) -> bool:
        """Look at the next slots of a family; True when enough flows ended to leave the rest for later."""
        slots, begin = self._slots[version], self._sweep_from[version]
        if begin == 0:
            self._sweep_began_ns[version] = now_ns
        late_ns = now_ns - self._sweep_began_ns[version] - 2 * self.idle_timeout_ns // SWEEPS_PER_TIMEOUT
        removals_left = REMOVALS_AT_ONCE if late_ns < 0 else REMOVALS_WHEN_LATE
        size = len(slots.numbers)
        end = min(begin + self._sweep_length(size), size)
        while begin < end and removals_left:
            stop = min(begin + SLOTS_AT_ONCE, end)
            ended = slots.ended(begin, stop, now_ns, self.idle_timeout_ns)[:removals_left].tolist()
            for position in ended:
                self._collect(version, slots, position)
            removals_left -= len(ended)
            begin = stop if removals_left else ended[-1] + 1
        self._sweep_from[version] = 0 if begin >= size else begin
        return not removals_left

    def _collect(self, version: int, slots: Slots, position: int) -> None:
        number = int(slots.numbers[position])
        was_live = self._columns[version].state[number] == layout.SLOT_LIVE
        self._end(version, number)
        self._release(slots, position, Removal.IDLE if was_live else Removal.MOVED)

    def _sweep_length(self, size: int) -> int:
        calls = max(self.idle_timeout_ns * 1e-9 / SWEEPS_PER_TIMEOUT / SWEEP_TICK_S, 1.0)
        return max(math.ceil(size / calls), SWEEP_AT_LEAST)

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """There is nothing to read: what transceivers send never comes up here."""
        self._pending.open(loop)

    def close(self) -> None:
        """Let go of sockets and maps; the flows go on."""
        self._pending.close()
        self._sender.close()
        self._clock.close()
        self._index.close()
        self._tables.close()


def _transceiver(record: np.void, version: int) -> Endpoint:
    host = socket.inet_ntop(FAMILIES[version], record["transceiver"].tobytes())
    return Endpoint(host, socket.ntohs(int(record["common"]["transceiver_port"])))

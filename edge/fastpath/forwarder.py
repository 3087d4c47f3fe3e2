"""The `xdp` forwarder: flows are records in the maps of the fast path, which carries them by itself.

The maps are the truth, not this process: a flow is whatever a record says, so the worker may die and its
successor finds all of them. What is kept beside the maps is which slots are free, and the marks; how flows
begin and end there is in `edge.fastpath.flow_store`.

Each worker hands out slots of its own, but any worker may get a client's packets, after their number has
changed for instance; so flows are found in the index and not in a table of the worker's.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable

import numpy as np

from core.addr import Endpoint, IpFamily, pack_address
from ebpf.flows import FlowRecord, ufrag_mark
from ebpf.ids import NOWHERE, NatSlot
from edge.fastpath.contests import Contests
from edge.fastpath.flow import XdpFlow
from edge.fastpath.flow_nexthops import FlowNextHops
from edge.fastpath.flow_store import FamilyFlows, FlowStore
from edge.fastpath.nat_slots import REST_NS
from edge.fastpath.sweep import Sweep
from edge.fastpath.upstream import Upstream
from edge.forwarders.life import SILENCE_NS, UNCONFIRMED_NS
from edge.forwarders.newcomers import Newcomer, Source, source_of
from edge.forwarders.room import Room
from edge.forwarders.sweep import EXPELLING, REMOVALS_PER_SWEEP, TICK_S, Patience
from edge.forwarders.tally import FlowTally
from edge.relay.counters import Counters, Removal
from edge.relay.forwarder import (
    MAX_ADDRESSES_PER_TOKEN,
    Holder,
    Sockaddr,
    Stranger,
    VipIndex,
    family_of_sockaddr,
)
from edge.relay.verdict import RelayReason

REST_AFTER_REMOVALS_S = 0.001


class XdpForwarder:
    """See `edge.relay.forwarder.Forwarder`."""

    name = "xdp"

    def __init__(
        self,
        store: FlowStore,
        max_flows: int,
        idle_timeout_ns: int,
        counters: Counters,
        ask: Callable[[list[str]], None],
        rest_ns: int = REST_NS,
    ) -> None:
        """`store` is closed with the forwarder. `ask` asks the supervisor for the next hops of hosts on a
        link. Raises PermissionError without CAP_NET_RAW.
        """
        self.idle_timeout_ns = idle_timeout_ns
        self.answer_timeout_ns = SILENCE_NS
        self.is_expelling = False
        self.hops = FlowNextHops(store, ask)
        """To be told what the supervisor says."""
        self._store = store
        self._families = store.families
        sizes = [len(flows.slots.numbers) for flows in store.families.values()]
        self._first_place = dict(zip(store.families, itertools.accumulate([0, *sizes]), strict=False))
        self._clock = store.maps.clock
        self._room = Room(max_flows, self._is_confirmed)
        self._rest_ns = rest_ns
        self._upstream = Upstream(store, self.hops, counters)
        self.on_promoted: Callable[[XdpFlow], None] = lambda flow: None
        self._contests = Contests(store, self.hops)
        self._sweeps = [(flows, Sweep(flows.slots)) for flows in store.families.values()]
        store.finish_ended()
        self._adopt(store.opened_ns)
        self._tally = FlowTally(counters, len(store))

    def __len__(self) -> int:
        return len(self._store)

    def set_dscp(self, dscp: int | None) -> None:
        """The DSCP (0–63) of what is sent from here, which is what the program gives to what follows."""
        self._upstream.set_dscp(dscp)

    def find(self, client: Sockaddr, vip: VipIndex, now_ns: int) -> XdpFlow | None:
        """The flow of a client address at a VIP, whichever worker's it is."""
        slot = self._store.find(_endpoint(client), self._store.vip_ids[vip])
        if not slot:
            return None
        return self._flow_at(self._families[family_of_sockaddr(client)], slot, Stranger(vip, client), now_ns)

    def _flow_at(self, flows: FamilyFlows, slot: NatSlot, stranger: Stranger, now_ns: int) -> XdpFlow:
        """What the records of a slot say."""
        columns, time_of = flows.columns, self._clock.time_of
        return XdpFlow(
            stranger.client,
            stranger.vip,
            flows.family,
            slot,
            int(flows.marks[slot]),
            flows.transceiver_at(slot),
            time_of(int(columns.heard[slot]), now_ns),
            time_of(int(columns.answered[slot]), now_ns),
            flows.is_confirmed(slot),
        )

    def rival_of(self, flow: XdpFlow, now_ns: int) -> XdpFlow | None:
        """The other flow of its address."""
        slot = self._contests.rival_of(flow.family, flow.slot)
        if slot is None:
            return None
        return self._flow_at(self._families[flow.family], slot, Stranger(flow.vip, flow.client), now_ns)

    def install(
        self,
        stranger: Stranger,
        ufrag: bytes,
        transceiver: Endpoint,
        now_ns: int,
        *,
        is_restored: bool = False,
    ) -> XdpFlow | RelayReason:
        """Write a flow's records, and enter its client in the index."""
        source = source_of(pack_address(_endpoint(stranger.client).host))
        newcomer = Newcomer(source, ufrag_mark(ufrag), now_ns, is_restored)
        return self._count_install(self._install(stranger, transceiver, ufrag, newcomer))

    def _count_install(self, outcome: XdpFlow | RelayReason) -> XdpFlow | RelayReason:
        if isinstance(outcome, RelayReason):
            self._tally.refused(outcome)
        else:
            self._tally.installed(len(self._store))
            self._tally.unconfirmed(len(self._room.newcomers))
        return outcome

    def _install(
        self,
        stranger: Stranger,
        transceiver: Endpoint,
        ufrag: bytes,
        newcomer: Newcomer,
        owner: NatSlot | None = None,
    ) -> XdpFlow | RelayReason:
        """A flow, as the rival of the one in the slot `owner` if that is still there once there is room."""
        endpoint, flows = _endpoint(stranger.client), self._families[family_of_sockaddr(stranger.client)]
        slots, mark, now_ns = flows.slots, ufrag_mark(ufrag), newcomer.began_ns
        vip_id = self._store.vip_ids[stranger.vip]
        refusal = self._make_room(newcomer.source, mark, now_ns)
        if refusal is not None:
            return refusal
        up, down = self.hops.lookup(endpoint, vip_id, transceiver)
        if NOWHERE in (up, down):
            return RelayReason.UNREACHABLE
        number = self.hops.transceiver(flows.family, transceiver, up, now_ns)
        if number is None:
            return RelayReason.TABLE_FULL
        slot = slots.take(self._store.maps.index.groups(endpoint), mark, now_ns)
        if slot is None:
            return RelayReason.NO_NAT_PORT
        position = slots.position_of(slot)
        assert position is not None, "it was taken from there"
        record = FlowRecord(slot, endpoint, vip_id, transceiver, number, down or NOWHERE)
        flows.note_ufrag(slot, ufrag)
        if owner is not None and flows.is_live(owner):
            flows.begin_rival(record, mark, now_ns)
            self._contests.begin(flows.family, owner, slot)
        elif not flows.begin(record, mark, now_ns):
            slots.release(position, now_ns + self._rest_ns)
            return RelayReason.TABLE_FULL
        self._room.begin(self._first_place[flows.family] + position, newcomer)
        if down is None:
            self.hops.await_client(flows.family, slot, endpoint.host)
        return self._flow_at(flows, slot, stranger, now_ns)

    def contest(
        self, flow: XdpFlow, ufrag: bytes, transceiver: Endpoint, now_ns: int
    ) -> XdpFlow | RelayReason:
        """Another flow of the same address."""
        if not self._contests.may_begin(flow.family, flow.slot):
            return RelayReason.FLOW_IN_USE
        source = self._families[flow.family].source_at(flow.slot)
        newcomer = Newcomer(source, ufrag_mark(ufrag), now_ns, is_restored=False)
        stranger = Stranger(flow.vip, flow.client)
        outcome = self._install(stranger, transceiver, ufrag, newcomer, owner=flow.slot)
        self._tally.contested(len(self._contests))
        return self._count_install(outcome)

    def _make_room(self, source: Source, mark: int, now_ns: int) -> RelayReason | None:
        """End who has to go for one more flow; or why there is none."""
        refusal = self._room.refusal(source, mark, len(self._store), self._silences(mark, now_ns))
        while refusal is None:
            silences = self._silences(mark, now_ns)
            place = self._room.next_to_go(source, mark, len(self._store), silences)
            if place is None:
                return None
            flows, position = self._at(place)
            flows.end(flows.slots.slot_at(position))
            self._release(flows, position, Removal.EVICTED, now_ns)
        return refusal

    def _silences(self, mark: int, now_ns: int) -> list[tuple[int, int]]:
        """Of the flows of a ufrag, once there are as many as may be: the places, and for how long their
        transceivers are silent.
        """
        families = self._families.values()
        if sum([flows.slots.addresses[mark] for flows in families]) < MAX_ADDRESSES_PER_TOKEN:
            return []
        found = list[tuple[int, int]]()
        for flows in families:
            first, positions = self._first_place[flows.family], flows.slots.of_mark(mark)
            answered = flows.columns.answered[flows.slots.numbers[positions]]
            silences = self._clock.idle(answered, now_ns) * np.int64(self._clock.unit_ns)
            found += zip((first + positions).tolist(), silences.tolist(), strict=True)
        return found

    def _at(self, place: int) -> tuple[FamilyFlows, int]:
        """The family and the position of a place."""
        family, first = next(each for each in reversed(self._first_place.items()) if place >= each[1])
        return self._families[family], place - first

    def _is_confirmed(self, place: int) -> bool:
        flows, position = self._at(place)
        return flows.is_confirmed(flows.slots.slot_at(position))

    def _adopt(self, now_ns: int) -> None:
        """Count the flows that there are."""
        for flows in self._families.values():
            first, slots = self._first_place[flows.family], flows.slots
            self._room.adopt(flows.sources())
            live = np.flatnonzero(slots.is_live)
            silent = live[flows.columns.carried_down[slots.numbers[live]] == 0]
            for position in silent.tolist():
                slot = slots.slot_at(position)
                newcomer = Newcomer(flows.source_at(slot), int(flows.marks[slot]), now_ns, is_restored=False)
                self._room.newcomers.add(first + position, newcomer)

    def rebind_ufrag(self, flow: XdpFlow, ufrag: bytes) -> None:
        """Give a flow another ufrag in the slot that it has: the transceiver sees the same source."""
        flows, mark = self._families[flow.family], ufrag_mark(ufrag)
        flows.note_ufrag(flow.slot, ufrag)
        flows.marks[flow.slot] = mark
        position = flows.slots.position_of(flow.slot)
        if position is not None:
            flows.slots.mark(position, mark)
            self._room.newcomers.rename(self._first_place[flow.family] + position, mark)
        self._tally.rebound()

    def remove(self, flow: XdpFlow, now_ns: int) -> None:
        """End a flow that makes room for another."""
        flows = self._families[flow.family]
        flows.end(flow.slot)
        position = flows.slots.position_of(flow.slot)
        if position is not None:  # else its worker finds it switched off
            self._release(flows, position, Removal.MOVED, now_ns)

    def _release(self, flows: FamilyFlows, position: int, cause: Removal, now_ns: int) -> None:
        slot = flows.slots.slot_at(position)
        rest_ns = self._rest_ns if flows.is_confirmed(slot) else min(self._rest_ns, UNCONFIRMED_NS)
        self._room.end(self._first_place[flows.family] + position, flows.source_at(slot))
        flows.slots.release(position, now_ns + rest_ns)
        self._tally.removed(cause, len(self._store))
        self._tally.unconfirmed(len(self._room.newcomers))
        promoted = self._contests.leave(flows.family, slot, now_ns)
        self._tally.contested(len(self._contests))
        if promoted is not None:
            self._tell_promoted(flows, promoted, now_ns)

    def _tell_promoted(self, flows: FamilyFlows, slot: NatSlot, now_ns: int) -> None:
        client, vip_id = flows.client_at(slot)
        if vip_id in self._store.vip_ids:
            vip = VipIndex(self._store.vip_ids.index(vip_id))
            self.on_promoted(self._flow_at(flows, slot, Stranger(vip, _sockaddr(client)), now_ns))

    def place_of(self, flow: XdpFlow) -> int | None:
        """Places are the positions of all families' slots, one family after the other."""
        position = self._families[flow.family].slots.position_of(flow.slot)
        return None if position is None else self._first_place[flow.family] + position

    def holder(self, place: int) -> Holder | None:
        """Whose a place is; also None without the map of ufrags, or where that has another flow's."""
        flows, position = self._at(place)
        slot = flows.slots.slot_at(position)
        ufrag = flows.ufrag_at(slot)
        if ufrag is None or not flows.is_live(slot):
            return None
        client, vip_id = flows.client_at(slot)
        if vip_id not in self._store.vip_ids:
            return None  # a VIP that is in the configuration no more
        return Holder(client, VipIndex(self._store.vip_ids.index(vip_id)), ufrag)

    def live_places(self) -> list[int]:
        """The places of all flows in this worker's slots, ascending."""
        return [
            self._first_place[family] + position
            for family, flows in self._families.items()
            for position in np.flatnonzero(flows.slots.is_live).tolist()
        ]

    def forward(self, flow: XdpFlow, datagram: memoryview, now_ns: int) -> bool:
        """Send from the flow's NAT port, as the program would have done; False too when it is to wait."""
        self._families[flow.family].columns.heard[flow.slot] = self._clock.stamp(now_ns)
        if self._contests.is_orphan(flow.family, flow.slot):
            self._contests.name_again(flow.family, flow.slot, now_ns)
        return self._upstream.forward(flow, datagram, now_ns)

    def copy(self, flow: XdpFlow, datagram: memoryview, now_ns: int) -> None:
        """Send from a rival's NAT port."""
        self._families[flow.family].columns.heard[flow.slot] = self._clock.stamp(now_ns)
        self._tally.copied(is_sent=self._upstream.copy(flow, datagram))

    def sweep(self, now_ns: int) -> float:
        """End flows, and take back slots that others switched off."""
        self._clock.adjust()
        self._confirm()
        overdue = self._room.newcomers.overdue(now_ns - UNCONFIRMED_NS, REMOVALS_PER_SWEEP)
        for place in overdue:
            self._collect(*self._at(place), now_ns)
        is_behind = len(overdue) == REMOVALS_PER_SWEEP
        patience = EXPELLING if self.is_expelling else Patience(self.idle_timeout_ns, self.answer_timeout_ns)
        for flows, sweep in self._sweeps:
            if flows.slots.live:
                swept = sweep.part(now_ns, patience)
                is_behind |= swept.is_cut_short
                for position in swept.ended:
                    self._collect(flows, position, now_ns)
        return REST_AFTER_REMOVALS_S if is_behind else TICK_S

    def _confirm(self) -> None:
        """See which newcomers have got something back: the program counts, and tells nobody."""
        newcomers = self._room.newcomers
        places = np.fromiter(newcomers.places(), np.intp, len(newcomers))
        for flows in self._families.values():
            positions = places - self._first_place[flows.family]
            positions = positions[(positions >= 0) & (positions < len(flows.slots.numbers))]
            carried = flows.columns.carried_down[flows.slots.numbers[positions]]
            for position in positions[carried != 0].tolist():
                newcomers.discard(self._first_place[flows.family] + position)
        self._tally.unconfirmed(len(newcomers))

    def _collect(self, flows: FamilyFlows, position: int, now_ns: int) -> None:
        slot = flows.slots.slot_at(position)
        cause = self._cause_of_end(flows, slot, now_ns)
        flows.end(slot)
        self._release(flows, position, cause, now_ns)

    def _cause_of_end(self, flows: FamilyFlows, slot: NatSlot, now_ns: int) -> Removal:
        if flows.is_off(slot):
            return Removal.MOVED
        if self.is_expelling:
            return Removal.DRAINED
        is_idle = self._clock.idle(flows.columns.heard[slot], now_ns) > self._clock.units(
            self.idle_timeout_ns
        )
        return Removal.IDLE if is_idle else Removal.UNANSWERED

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """There is nothing to read: what transceivers send never comes up here."""
        self._upstream.open(loop)

    def close(self) -> None:
        """Let go of sockets and maps; the flows go on."""
        self._upstream.close()
        self._store.close()


def _endpoint(client: Sockaddr) -> Endpoint:
    return Endpoint(client[0].partition("%")[0], client[1])


def _sockaddr(client: Endpoint) -> Sockaddr:
    return (client.host, client.port, 0, 0) if client.family is IpFamily.V6 else (client.host, client.port)

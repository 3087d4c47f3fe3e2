"""Addresses that two calls have, in the fast path: their packets come up to the worker, which sends them to
both transceivers.

The owner of such an address keeps its live records, so its client is found there, but has no transceiver
upstream: what the program would have forwarded it passes up. Its rival has a live record downstream and one
upstream that no client is led to. Both are carried downstream by the program. What the contest leaves to the
owner, or to the rival in its place, is a flow like any other.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from core.addr import IpFamily
from ebpf import layout
from ebpf.errors import MapError
from ebpf.ids import NOWHERE, NatSlot
from edge.fastpath.flow_nexthops import FlowNextHops
from edge.fastpath.flow_store import FamilyFlows, FlowStore
from edge.relay.forwarder import MAX_CONTESTS

Key: TypeAlias = tuple[IpFamily, NatSlot]


class Contests:
    """Of the slots of one worker."""

    def __init__(self, store: FlowStore, hops: FlowNextHops) -> None:
        self._families: Mapping[IpFamily, FamilyFlows] = store.families
        self._index = store.maps.index
        self._hops = hops
        self._rivals: dict[Key, NatSlot] = {}
        """By owner."""
        self._owners: dict[Key, NatSlot] = {}
        """By rival."""

    def __len__(self) -> int:
        return len(self._rivals)

    def may_begin(self, family: IpFamily, slot: NatSlot) -> bool:
        """Whether the flow of a slot can have a rival: it is this worker's, has none, and the program that is
        pinned at present knows of contests.
        """
        return (
            len(self) < MAX_CONTESTS
            and self._families[family].slots.position_of(slot) is not None
            and (family, slot) not in self._rivals
            and self._index.knows_contests()
        )

    def begin(self, family: IpFamily, owner: NatSlot, rival: NatSlot) -> None:
        """The rival's records are there: let packets come up from now on."""
        self._rivals[family, owner] = rival
        self._owners[family, rival] = owner
        self._families[family].columns.transceiver[owner] = layout.NO_TRANSCEIVER

    def rival_of(self, family: IpFamily, slot: NatSlot) -> NatSlot | None:
        """The slot of an owner's rival."""
        return self._rivals.get((family, slot))

    def is_orphan(self, family: IpFamily, slot: NatSlot) -> bool:
        """Whether a live flow waits for its transceiver to be named again: a worker died in a contest."""
        is_nameless = self._families[family].columns.transceiver[slot] == layout.NO_TRANSCEIVER
        return bool(is_nameless) and (family, slot) not in self._rivals

    def leave(self, family: IpFamily, slot: NatSlot, now_ns: int) -> NatSlot | None:
        """A flow has ended: if it had a rival, that has the address now, and its slot is returned; None where
        there was none, or it cannot be had. If it was one, the owner has the address alone.
        """
        rival = self._rivals.pop((family, slot), None)
        if rival is not None:
            del self._owners[family, rival]
            return rival if self._promote(self._families[family], rival, now_ns) else None
        owner = self._owners.pop((family, slot), None)
        if owner is not None:
            del self._rivals[family, owner]
            self.name_again(family, owner, now_ns)
        return None

    def _promote(self, flows: FamilyFlows, slot: NatSlot, now_ns: int) -> bool:
        flows.columns.state[slot] = layout.SLOT_LIVE
        try:
            self._index.link(flows.family, slot)
        except MapError:  # no room: its client has to ask again
            flows.columns.state[slot] = layout.SLOT_OFF
            return False
        self.name_again(flows.family, slot, now_ns)
        return True

    def name_again(self, family: IpFamily, slot: NatSlot, now_ns: int) -> None:
        """Let the program carry a flow; without a number for its transceiver the worker goes on doing so."""
        flows = self._families[family]
        client, vip_id = flows.client_at(slot)
        transceiver = flows.transceiver_at(slot)
        up, _ = self._hops.lookup(client, vip_id, transceiver)
        if up != NOWHERE:
            number = self._hops.transceiver(family, transceiver, up, now_ns)
            flows.columns.transceiver[slot] = number or layout.NO_TRANSCEIVER

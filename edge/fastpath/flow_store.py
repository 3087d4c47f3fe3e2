"""The flows of the fast path as one worker has them: the maps, and which of their slots and ids are its own.

A flow begins as whole records in a slot that has rested, one for each direction, switched on last; then its
client is entered in the index. It ends in the opposite order: switched off, out of the index, and the slot
rests. The program compares each record with the packet before it uses it, so at no moment of this can a
packet be sent by another flow's record. A record that lives is written to in four places only, each of them
one store: its state, its next hop, the number of its transceiver, for another one of the same that has
another next hop, and the mark of its ufrag.
"""

from __future__ import annotations

import binascii
import logging
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from core.addr import Endpoint, IpFamily, pack_address, unpack_address
from ebpf import layout
from ebpf.clock import SeenClock
from ebpf.errors import MapError, MapFullError
from ebpf.flows import FlowRecord, ufrag_mark
from ebpf.ids import BackboneIndex, NatSlot, VipId
from ebpf.index import Index
from ebpf.tables import Tables
from edge.fastpath.nat_slots import Columns, Slots
from edge.fastpath.transceiver_ids import Transceivers
from edge.forwarders.newcomers import Source, source_of

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Maps:
    """What is pinned, opened."""

    tables: Tables
    index: Index
    clock: SeenClock
    """Of the records' stamps."""
    ufrags: Mapping[IpFamily, npt.NDArray[np.uint8]] | None = None
    """[slot, byte], where a store is configured."""

    def close(self) -> None:
        """Close all of it; the flows go on."""
        self.clock.close()
        self.index.close()
        self.tables.close()


class FamilyFlows:
    """The flows of one family, whichever worker's, and this worker's slots and ids."""

    def __init__(
        self,
        family: IpFamily,
        maps: Maps,
        slots: Slots,
        transceivers: Transceivers,
        backbones: Mapping[BackboneIndex, str],
    ) -> None:
        self.family = family
        self.slots = slots
        self.transceivers = transceivers
        self.columns = Columns(maps.tables.records[family])
        self.marks = maps.tables.marks[family]
        """Of the flows' ufrags, by slot."""
        self._maps = maps
        self._backbones: dict[int, bytes] = {index: pack_address(host) for index, host in backbones.items()}
        self._downstream = maps.tables.records[family][layout.DOWNSTREAM]
        self._ufrags = maps.ufrags[family] if maps.ufrags is not None else None

    def nat_address(self, slot: NatSlot) -> tuple[bytes, int]:
        """The backbone address, packed, and the NAT port of a slot."""
        index, port = divmod(slot, layout.PORTS)
        return self._backbones[index], port

    def transceiver_at(self, slot: NatSlot) -> Endpoint:
        """Who gets what the client of a slot sends."""
        record = self._downstream[slot]
        host = unpack_address(record["transceiver"].tobytes())
        return Endpoint(host, socket.ntohs(int(record["common"]["transceiver_port"])))

    def client_at(self, slot: NatSlot) -> tuple[Endpoint, VipId]:
        """Whose flow has a slot, and at which VIP."""
        record = self._downstream[slot]
        common = record["common"]
        host = unpack_address(record["client"].tobytes())
        return Endpoint(host, socket.ntohs(int(common["client_port"]))), VipId(int(common["vip"]))

    def source_at(self, slot: NatSlot) -> Source:
        """Whom the client of a slot is of."""
        return source_of(self._downstream["client"][slot].tobytes())

    def sources(self) -> list[tuple[Source, int]]:
        """Whom the clients of this worker's flows are of, and how many flows each of them has."""
        clients = self._downstream["client"][self.slots.numbers[self.slots.is_live]]
        if self.family is IpFamily.V4:
            found = np.unique(clients.view(">u4"), return_counts=True)
        else:
            prefixes = np.ascontiguousarray(clients[:, :2]).view(">u8")
            found = np.unique(prefixes, return_counts=True)
        numbers, counts = (each.tolist() for each in found)
        packed = (4, 4) if self.family is IpFamily.V4 else (8, 16)
        return [
            (source_of(number.to_bytes(packed[0], "big").ljust(packed[1], b"\0")), count)
            for number, count in zip(numbers, counts, strict=True)
        ]

    def is_confirmed(self, slot: NatSlot) -> bool:
        """Whether something has come from the transceiver to the flow of a slot."""
        return bool(self.columns.carried_down[slot])

    def note_ufrag(self, slot: NatSlot, ufrag: bytes) -> None:
        """Keep the ufrag of a slot's flow, where a store is configured: the record has but a mark of it."""
        if self._ufrags is not None:
            self._ufrags[slot] = np.frombuffer(binascii.a2b_base64(ufrag), np.uint8)

    def ufrag_at(self, slot: NatSlot) -> bytes | None:
        """The ufrag of a slot's flow. None where it is not known: the flow is from before there was a store,
        or from a relay that had none.
        """
        if self._ufrags is None:
            return None
        ufrag = binascii.b2a_base64(self._ufrags[slot].tobytes(), newline=False)
        return ufrag if ufrag_mark(ufrag) == int(self.marks[slot]) else None

    def is_live(self, slot: NatSlot) -> bool:
        """Whether a client is led to the slot."""
        return bool(self.columns.state[slot] == layout.SLOT_LIVE)

    def is_off(self, slot: NatSlot) -> bool:
        """Whether no flow has the slot, not even as a rival."""
        return bool(self.columns.state[slot] == layout.SLOT_OFF)

    def begin_rival(self, record: FlowRecord, mark: int, now_ns: int) -> None:
        """Write a flow into the slot that was taken for it, to which no client is led yet."""
        stamp = self._maps.clock.stamp(now_ns)
        self._maps.tables.write_slot(record, mark, stamp, layout.SLOT_RIVAL)

    def begin(self, record: FlowRecord, mark: int, now_ns: int) -> bool:
        """Write a flow into the slot that was taken for it; False where the index has no room for it.

        Then its records are off again, but its transceiver might have sent something meanwhile: the slot has
        to rest before it is another's.
        """
        tables = self._maps.tables
        tables.write_slot(record, mark, self._maps.clock.stamp(now_ns))
        try:
            self._maps.index.link(self.family, record.slot)
        except MapError as error:
            tables.set_slot_state(self.family, record.slot, layout.SLOT_OFF)
            if not isinstance(error, MapFullError):
                logger.error("%s", error)
            return False
        return True

    def end(self, slot: NatSlot) -> None:
        """Switch a slot off, then take its client out of the index if it is still found there."""
        self._maps.tables.set_slot_state(self.family, slot, layout.SLOT_OFF)
        self._maps.index.unlink(self.family, slot)

    def finish_ended(self) -> None:
        """End in whole what a worker before this one did not come to the end of."""
        off = self.slots.numbers[~self.slots.is_live]
        downstream = self._downstream["common"]["state"]
        downstream[off[downstream[off] == layout.SLOT_LIVE]] = layout.SLOT_OFF
        for number in np.intersect1d(self._maps.tables.linked(self.family), off).tolist():
            self._maps.index.unlink(self.family, number)


@dataclass(frozen=True, slots=True)
class FlowStore:
    """All of it. Closed by who uses it last."""

    maps: Maps
    vip_ids: Sequence[VipId]
    """In the order of the VIPs in the configuration."""
    families: Mapping[IpFamily, FamilyFlows]
    opened_ns: int
    """When that was, monotonic."""

    def __len__(self) -> int:
        """Flows in this worker's slots."""
        return sum([flows.slots.live for flows in self.families.values()])

    def finish_ended(self) -> None:
        """End in whole what a worker before this one did not come to the end of."""
        for flows in self.families.values():
            flows.finish_ended()

    def find(self, client: Endpoint, vip_id: VipId) -> NatSlot:
        """The slot of a client's flow at a VIP, whichever worker's it is; 0 where there is none."""
        return self.maps.index.find(client, vip_id)

    def close(self) -> None:
        """Close the maps; the flows go on."""
        self.maps.close()

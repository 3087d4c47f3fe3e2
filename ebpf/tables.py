"""The pinned maps as what they mean: our addresses, keys, next hops, flows, counters.

The program reads while we write, so what it reads changes by one store each: to a half of the address
table, to one of the two adjacencies of a next hop, to the state of a slot. The half, adjacency or slot
that was given up may be in use by a packet for a moment longer, and rests for REST_S before it is written to.

What there is once for each family is a dict by `IpFamily`.
"""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from core.addr import Endpoint, IpFamily, family_of, family_of_packed, pack_address
from core.keyring import KEY_IDS, Keyring
from ebpf import layout, pins
from ebpf.errors import DataplaneError
from ebpf.flows import U64_MASK, FlowRecord
from ebpf.ids import BackboneIndex, EgressId, NatSlot, NextHopId, TransceiverId, VipId
from ebpf.kernel.bpfmap import BpfMap, Records
from ebpf.verdict import COUNTERS, FAMILIES, KNOWN, REASON_STRIDE, Count, Family, Reason

V4, V6 = IpFamily.V4, IpFamily.V6
REST_S = 0.05
"""Far longer than a packet takes; programs run between two points of an RCU grace period."""


@dataclass(frozen=True, slots=True)
class LocalAddress:
    """What we are at one address: VIPs by port, a backbone address, or both."""

    host: str
    vips: Mapping[int, VipId] = field(default_factory=dict)
    """Port → id of the VIP."""
    backbone: BackboneIndex | None = None
    """Index among the backbone addresses of its family."""
    nat_ports: tuple[int, int] = (4096, 65535)
    """First and last NAT port, where it is one."""


@dataclass(frozen=True, slots=True)
class Rates:
    """How many packets of a class may be punted: by one source (/32, /64), and in total."""

    source_pps: float
    source_burst: int
    total_pps: float
    total_burst: int


class Adjacency(NamedTuple):
    """How the packets to a next hop leave; `tags` as (type, TCI), the outer one first."""

    neighbour_mac: bytes
    own_mac: bytes
    mtu: int
    egress: EgressId
    tags: tuple[tuple[int, int], ...] = ()


class Traffic(NamedTuple):
    """What each of some flows has carried in one direction; bytes of the network layer."""

    packets: npt.NDArray[np.uint64]
    bytes: npt.NDArray[np.uint64]


def _words(packed: bytes) -> list[int]:
    padded = packed.ljust(16, b"\0")
    return [int.from_bytes(padded[i : i + 4], "little") for i in range(0, 16, 4)]


def _wire_port(port: int) -> int:
    return int.from_bytes(port.to_bytes(2, "big"), "little")


def fold(packed: bytes) -> int:
    """The 64 bits of an address that vp_local_at() of prog/locate.h hashes."""
    words = _words(packed)
    if len(packed) == 4:
        return words[0]
    high, low = words[0] << 32 | words[1], words[2] << 32 | words[3]
    return (high * layout.FOLD_MULTIPLIER & U64_MASK) ^ low


def cell_of(folded: int, multiplier: int) -> int:
    """The cell of an address within its half of the table."""
    return (folded * multiplier & U64_MASK) >> (64 - layout.LOCAL_CELLS_LOG2)


def find_multiplier(folded: Sequence[int]) -> int:
    """An odd number that gives each address a cell of its own. Raises DataplaneError."""
    multiplier = layout.FOLD_MULTIPLIER
    for _ in range(1 << 16):
        if len({cell_of(value, multiplier) for value in folded}) == len(folded):
            return multiplier
        # The linear congruential generator of Knuth's MMIX, but for an even increment: odd stays odd.
        multiplier = (multiplier * 0x5851F42D4C957F2D + 0x14057B7EF767814E) & U64_MASK | 1
    raise DataplaneError(f"{len(folded)} local addresses are too many, or one is there twice")


class Tables:
    """The open maps of a pin directory. Raises PinError where one is absent or of another shape.

    Views are numpy arrays over the maps themselves.
    """

    def __init__(self, pin_dir: Path, *, writable: bool = True) -> None:
        self.map_ids: dict[str, int] = {}
        """The kernel's ids of the maps, by name."""
        with contextlib.ExitStack() as stack:

            def view(spec: pins.AnySpec) -> Records:
                opened = BpfMap.open(spec, pin_dir / spec.name)
                stack.callback(opened.close)  # the mapping holds the map
                self.map_ids[spec.name] = opened.id
                return opened.view(writable=writable)

            self.config: np.void = view(pins.CONFIG)[0]
            self.records = {
                V4: (view(pins.UPSTREAM4), view(pins.DOWNSTREAM4)),
                V6: (view(pins.UPSTREAM6), view(pins.DOWNSTREAM6)),
            }
            """The directions of flows, upstream first, by slot."""
            self.aux = {V4: view(pins.FLOW_AUX4), V6: view(pins.FLOW_AUX6)}
            """What is seldom needed of flows, by slot."""
            self.marks = {family: aux["ufrag"] for family, aux in self.aux.items()}
            """Of the flows' ufrags, by slot."""
            self.transceivers = {V4: view(pins.TRANSCEIVERS4), V6: view(pins.TRANSCEIVERS6)}
            """By their ids."""
            self.groups = {V4: view(pins.GROUPS4)["tag"], V6: view(pins.GROUPS6)["tag"]}
            self.buckets = {V4: view(pins.INDEX4)["entry"], V6: view(pins.INDEX6)["entry"]}
            """The index, for reading: `ebpf.index` writes."""
        with contextlib.ExitStack() as stack:

            def keep(spec: pins.AnySpec) -> BpfMap[Any, Any]:
                opened = BpfMap.open(spec, pin_dir / spec.name)
                stack.callback(opened.close)
                self.map_ids[spec.name] = opened.id
                return opened

            self.egresses = keep(pins.EGRESSES)
            self.counters = keep(pins.COUNTERS_MAP)
            self.punt_total = keep(pins.PUNT_TOTAL)
            self.punt_sources = keep(pins.PUNT_SOURCES)
            self._open = stack.pop_all()

    def close(self) -> None:
        """Close the maps; nothing pinned or attached changes."""
        self._open.close()

    def set_clock(self, now_min: int) -> None:
        """The wall clock in minutes since the Unix epoch; tokens are refused until it is set."""
        self.config["clock_min"] = now_min & 0xFFFF | layout.CLOCK_SET

    def set_dscp(self, direction: int, dscp: int | None) -> None:
        """The DSCP (0–63) of forwarded packets; None keeps each packet's own."""
        self.config["tos_mask"][direction] = 0 if dscp is None else 0xFC
        self.config["tos_set"][direction] = 0 if dscp is None else dscp << 2

    def set_rates(self, punt_class: int, rates: Rates) -> None:
        """The punt budget of a class, which is one of layout.PUNT_CLASS_*."""
        source_ns, total_ns = round(1e9 / rates.source_pps), round(1e9 / rates.total_pps)
        self.config["budget"][punt_class] = (
            source_ns,
            source_ns * (rates.source_burst - 1),
            total_ns,
            total_ns * (rates.total_burst - 1),
        )

    def set_token_rate(self, pps: float, burst: int) -> None:
        """How many packets with one token may be punted, whichever sources they have. It has two cells, each
        of which is worth a half.
        """
        interval_ns = round(2e9 / pps)
        self.config["token_burst_ns"] = interval_ns * (burst // 2 - 1)
        self.config["token_interval_ns"] = interval_ns

    @property
    def is_emergency(self) -> bool:
        """Whether of strangers only valid tokens pass."""
        return bool(self.config["emergency"])

    def set_emergency(self, is_raised: bool) -> None:
        """Let of strangers only valid tokens pass, or all that there is a budget for."""
        self.config["emergency"] = int(is_raised)

    def set_keys(self, keyring: Keyring) -> None:
        """Accept the tokens of these keys, and no others."""
        for key_id in KEY_IDS:
            key = keyring.tag_key(key_id)
            if key is None:
                self.config["token_key"][key_id] = (0, 0, 0, 0)
            else:
                halves = (int.from_bytes(key[i : i + 8], "little") for i in (0, 8))
                self.config["token_key"][key_id] = (*halves, 1, 0)

    def set_vip(self, vip_id: VipId, vip: Endpoint) -> None:
        """What a VIP id stands for. Before the address is made known, and never again."""
        self.config["vip"][vip_id] = (_words(pack_address(vip.host)), _wire_port(vip.port), [0] * 3)

    def set_backbone(self, index: BackboneIndex, host: str) -> None:
        """What a backbone index stands for. Before the address is made known, and never again."""
        self.config[f"backbone{family_of(host)}"][index] = (_words(pack_address(host)),)

    def set_locals(self, addresses: Sequence[LocalAddress]) -> None:
        """Replace the whole set of our addresses at once; at most once per REST_S."""
        packed = [pack_address(address.host) for address in addresses]
        folded = [fold(each) for each in packed]
        multiplier = find_multiplier(folded)
        live = int(self.config["local_hash"]) & 1
        half = 1 - live
        start = half * layout.LOCAL_CELLS
        cells = np.zeros(layout.LOCAL_CELLS, np.dtype(layout.Local))
        for address, raw, value in zip(addresses, packed, folded, strict=True):
            cells[cell_of(value, multiplier)] = _local_cell(address, raw)
        self.config["local"][start : start + layout.LOCAL_CELLS] = cells
        self.config["local_hash"] = multiplier & ~1 | half

    def set_nexthop(self, nexthop_id: NextHopId, adjacency: Adjacency | None) -> None:
        """Where a next hop's packets leave; None: nowhere. At most once per REST_S for each."""
        record = self.config["nexthop"][nexthop_id]
        other = 1 - (int(record["live"]) & 1)
        record["adjacency"][other] = (
            ([0] * 3, [0] * 4, 0, 0, 0, 0) if adjacency is None else _adjacency_fields(adjacency)
        )
        record["live"] = other

    def set_egress(self, index: EgressId, ifindex: int) -> None:
        """Which interface an egress is; the kernel removes it when the interface goes away."""
        self.egresses.update(ctypes.c_uint32(index), ctypes.c_uint32(ifindex))

    def set_transceiver(self, number: TransceiverId, transceiver: Endpoint, nexthop: NextHopId) -> None:
        """Whom an id stands for. While no live record has it, and none has had it for REST_S."""
        words = _words(pack_address(transceiver.host))
        common = _wire_port(transceiver.port), nexthop
        if transceiver.family is V6:
            self.transceivers[V6][number] = (common, words, 0)
        else:
            self.transceivers[V4][number] = (common, words[0])

    def write_slot(
        self, flow: FlowRecord, mark: int = 0, seen: int = 0, state: int = layout.SLOT_LIVE
    ) -> None:
        """Write the records of a slot that rests, and let it live last of all; as a rival with that state.

        `mark` is that of its ufrag, `seen` the stamp of when its client was heard; of its transceiver, which
        has said nothing yet, it tells since when that is waited for.
        """
        family = flow.client.family
        addresses = (_words(pack_address(e.host)) for e in (flow.client, flow.transceiver))
        client, transceiver = ((a if family is V6 else a[0]) for a in addresses)
        port, pad = _wire_port(flow.client.port), (0,) * (family is V6)
        upstream, downstream = self.records[family]
        self.aux[family][flow.slot] = (0, 0, mark)
        up = (0, flow.transceiver_id, seen, port, flow.vip_id, layout.SLOT_OFF)
        upstream[flow.slot] = (up, client, *pad)
        ports = port, _wire_port(flow.transceiver.port)
        down = (0, 0, seen, flow.nexthop_down, *ports, flow.vip_id, layout.SLOT_OFF, 0)
        downstream[flow.slot] = (down, client, transceiver, *pad)
        downstream["common"]["state"][flow.slot] = layout.SLOT_LIVE
        upstream["common"]["state"][flow.slot] = state

    def nexthops(
        self, family: IpFamily, slots: npt.NDArray[np.intp]
    ) -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.uint16]]:
        """By which next hops flows go, upstream and downstream."""
        upstream, downstream = (records["common"] for records in self.records[family])
        transceivers = self.transceivers[family]["common"]
        return transceivers["nexthop"][upstream["transceiver"][slots]], downstream["nexthop"][slots]

    def traffic(self, family: IpFamily, slots: npt.NDArray[np.intp]) -> tuple[Traffic, Traffic]:
        """What flows have carried, upstream and downstream."""
        upstream, downstream = self.records[family]
        aux = self.aux[family][slots]  # before the rest, so that nothing is counted twice
        counts = upstream["common"]["counts"][slots].astype(np.uint64)
        down = downstream["common"][slots]
        return (
            Traffic(
                aux["packets"] + (counts & np.uint64(layout.COUNT_PACKETS)),
                aux["bytes"] + (counts >> np.uint64(layout.COUNT_BITS)),
            ),
            Traffic(down["packets"].astype(np.uint64), down["bytes"]),
        )

    def set_slot_state(self, family: IpFamily, slot: NatSlot, state: int) -> None:
        """Switch a slot off, or on again: it lives while its upstream direction does, which is the first to
        end and the last to begin.
        """
        upstream, downstream = self.records[family]
        for records in (upstream, downstream) if state == layout.SLOT_OFF else (downstream, upstream):
            records["common"]["state"][slot] = state

    def live(self, family: IpFamily) -> npt.NDArray[np.intp]:
        """The slots of flows, ascending."""
        return np.flatnonzero(self.records[family][layout.UPSTREAM]["common"]["state"] == layout.SLOT_LIVE)

    def linked(self, family: IpFamily) -> npt.NDArray[np.uint32]:
        """The slots of the clients in the index, in no order."""
        group, tag = np.nonzero(self.groups[family])
        in_group = group_slot(group) + np.array(layout.TAG_SLOTS)[tag]
        entries = self.buckets[family]
        elsewhere = entries[entries != 0] & np.uint32((1 << layout.SLOT_BITS) - 1)
        return np.concatenate([in_group.astype(np.uint32), elsewhere])

    def counts(self) -> dict[Family, dict[Reason, Count]]:
        """Everything that the program has counted since its maps were made."""
        return counts_of(self.counters)


def open_ufrags(pin_dir: Path) -> dict[IpFamily, npt.NDArray[np.uint8]]:
    """The ufrags of flows, [slot, byte], over the maps that `pins.ensure_ufrags` made. Raises PinError."""
    views = {}
    for family, spec in ((V4, pins.UFRAGS4), (V6, pins.UFRAGS6)):
        opened = BpfMap.open(spec, pin_dir / spec.name)
        views[family] = opened.view(writable=True)["token"]
        opened.close()  # the mapping holds the map
    return views


def group_slot(group: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    """The first slot of a group, by its number: those of all backbone addresses are numbered on."""
    return (group // layout.GROUPS + 1) * layout.GROUP_FIRST + group * layout.GROUP_SLOTS


def counts_of(counters: BpfMap[Any, Any]) -> dict[Family, dict[Reason, Count]]:
    """What a map of counters holds; what a newer program has counted for reasons of its own, as UNKNOWN."""
    values = counters.per_cpu()
    shape = len(FAMILIES), REASON_STRIDE
    packets, sizes = (values[field][:COUNTERS].sum(axis=1).reshape(shape) for field in ("packets", "bytes"))
    told: dict[Family, dict[Reason, Count]] = {}
    for family, *rows in zip(FAMILIES, packets.tolist(), sizes.tolist(), strict=True):
        counts = [Count(*row) for row in zip(*rows, strict=True)]
        unknown = counts[len(KNOWN) :]
        told[family] = dict(zip(KNOWN, counts, strict=False))
        told[family][Reason.UNKNOWN] = Count(sum(c.packets for c in unknown), sum(c.bytes for c in unknown))
    return told


def _local_cell(address: LocalAddress, packed: bytes) -> tuple[object, ...]:
    if len(address.vips) > layout.LOCAL_VIPS:
        raise DataplaneError(f"{address.host} has more than {layout.LOCAL_VIPS} VIP ports")
    spare = layout.LOCAL_VIPS - len(address.vips)
    first, last = (1, 0) if address.backbone is None else address.nat_ports
    return (
        family_of_packed(packed),
        len(address.vips),
        [*address.vips.values(), *[0] * spare],
        [*map(_wire_port, address.vips), *[0] * spare],
        first,
        last,
        0,
        (address.backbone or 0) * layout.PORTS,
        _words(packed),
        [0] * 3,
    )


def _adjacency_fields(adjacency: Adjacency) -> tuple[object, ...]:
    tags = [_wire_port(word) for tag in adjacency.tags for word in tag]
    return (
        _words(adjacency.neighbour_mac + adjacency.own_mac)[:3],
        tags + [0] * (4 - len(tags)),
        adjacency.mtu,
        len(adjacency.tags),
        1,
        adjacency.egress,
    )

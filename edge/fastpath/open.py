"""Opening the maps for one worker: its part of the tables, with all that is in them already."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from core.addr import Endpoint, IpFamily
from ebpf.clock import SeenClock
from ebpf.ids import BackboneIndex, NatSlot, VipId
from ebpf.index import Index
from ebpf.layout import PORTS
from ebpf.tables import Tables, open_ufrags
from edge.fastpath.flow_store import FamilyFlows, FlowStore, Maps
from edge.fastpath.nat_slots import Slots, share_ports
from edge.fastpath.transceiver_ids import Transceivers

Share: TypeAlias = tuple[int, int]
"""(index of a worker, number of workers)"""


@dataclass(frozen=True, slots=True)
class Identities:
    """What a worker must know to use the maps; the supervisor's `XdpHost.message` says it."""

    pin_dir: Path
    vip_ids: Sequence[VipId]
    """In the order of the VIPs in the configuration."""
    backbones: Mapping[IpFamily, Mapping[BackboneIndex, str]]
    nat_ports: tuple[int, int]
    """First and last, of every backbone address."""
    keeps_ufrags: bool = False
    """Whether a store is configured."""


def read_identities(message: Any) -> Identities:  # noqa: ANN401 - JSON of our own making
    """What `XdpHost.message` says."""
    first, last = message["nat_ports"]
    return Identities(
        Path(message["pin_dir"]),
        message["vip_ids"],
        {family: dict(message["backbones"][str(family)]) for family in IpFamily},
        (first, last),
        message["keeps_ufrags"],
    )


def open_store(
    identities: Identities, vips: Sequence[Endpoint], share: Share, monotonic_ns: Callable[[], int]
) -> FlowStore:
    """The store of worker `share[0]` of `share[1]`; `monotonic_ns` is kept for the clock of the stamps.

    Raises DataplaneError.
    """
    assert len(identities.vip_ids) == len(vips), "one for each"
    now_ns = monotonic_ns()
    pin_dir = identities.pin_dir
    ufrags = open_ufrags(pin_dir) if identities.keeps_ufrags else None
    maps = Maps(Tables(pin_dir), Index(pin_dir), SeenClock(pin_dir, monotonic_ns), ufrags)
    families = {}
    for family, hosts in identities.backbones.items():
        slots = Slots(
            maps.tables.records[family],
            share_ports(sorted(hosts), *identities.nat_ports, *share),
            _taken(hosts, vips),
            maps.clock,
        )
        slots.adopt(maps.tables.marks[family], now_ns)
        transceivers = Transceivers(maps.tables, family, share, now_ns)
        families[family] = FamilyFlows(family, maps, slots, transceivers, hosts)
    return FlowStore(maps, identities.vip_ids, families, now_ns)


def _taken(backbones: Mapping[BackboneIndex, str], vips: Sequence[Endpoint]) -> frozenset[NatSlot]:
    """The slots whose NAT port is a VIP's."""
    return frozenset(
        NatSlot(index * PORTS + vip.port)
        for index, host in backbones.items()
        for vip in vips
        if vip.host == host
    )

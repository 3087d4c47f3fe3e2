"""`python -m tests.edge.churner PIN_DIR`: begins and ends flows as fast as it can, until stdin speaks."""

from __future__ import annotations

import select
import sys
import time
from pathlib import Path

from core.addr import Endpoint, IpFamily
from ebpf.clock import SeenClock
from ebpf.ids import BackboneIndex, NextHopId, VipId
from ebpf.index import Index
from ebpf.layout import GROUP_FIRST
from ebpf.tables import REST_S, Tables
from edge.fastpath.flow import XdpFlow
from edge.fastpath.flow_store import FamilyFlows, FlowStore, Maps
from edge.fastpath.forwarder import XdpForwarder
from edge.fastpath.nat_slots import NatRange, Slots
from edge.fastpath.transceiver_ids import Transceivers
from edge.relay.counters import create
from edge.relay.forwarder import Sockaddr, Stranger, VipIndex
from tests.edge.kit import Vip
from tests.edge.nexthops.kit import one_view

CLIENTS = 64
FIRST_PORT, LAST_PORT = GROUP_FIRST, GROUP_FIRST + 4095
GROUPS = 4
"""So few that clients take each other's places there, and that not all find one."""
VIPS = {
    IpFamily.V4: Vip(VipId(3), Endpoint("198.51.100.1", 3478)),
    IpFamily.V6: Vip(VipId(4), Endpoint("2001:db8:f::1", 3478)),
}
BACKBONES = {
    IpFamily.V4: {BackboneIndex(0): "192.0.2.10"},
    IpFamily.V6: {BackboneIndex(0): "2001:db8:b::10"},
}
NUMBERS = 1000
"""For the transceivers of each family, so few that they are soon another's."""
CHANGES_PER_RECLAIM = 16
ROUTE_UP, ROUTE_DOWN = NextHopId(7), NextHopId(8)


def client_of(number: int, version: IpFamily) -> Endpoint:
    return Endpoint(
        f"203.0.113.{number + 1}" if version is IpFamily.V4 else f"2001:db8:c::{number + 1:x}", 5000 + number
    )


def transceiver_of(number: int, version: IpFamily) -> Endpoint:
    """Each client has one of its own, so a packet tells whose record it was sent by."""
    return Endpoint(
        f"10.20.0.{number + 1}" if version is IpFamily.V4 else f"2001:db8:20::{number + 1:x}", 40000 + number
    )


Numbers = dict[IpFamily, Transceivers]


def open_forwarder(pin_dir: Path) -> tuple[XdpForwarder, Numbers]:
    now_ns = time.monotonic_ns()
    maps = Maps(Tables(pin_dir), Index(pin_dir), SeenClock(pin_dir, time.monotonic_ns))
    ranges = [NatRange(BackboneIndex(0), FIRST_PORT, LAST_PORT)]
    families = {}
    for family in IpFamily:
        slots = Slots(maps.tables.records[family], ranges, frozenset(), maps.clock)
        slots.adopt(maps.tables.marks[family], now_ns)
        transceivers = Transceivers(maps.tables, family, (0, 65535 // NUMBERS), now_ns)
        families[family] = FamilyFlows(family, maps, slots, transceivers, BACKBONES[family])
    counters, _ = create()
    forwarder = XdpForwarder(
        FlowStore(maps, [vip.id for vip in VIPS.values()], families, now_ns),
        8 * CLIENTS, 10**12, counters, lambda _: None, int(REST_S * 1e9),
    )  # fmt: skip
    forwarder.hops.learn_routes(one_view({family: [(0, ROUTE_UP)] for family in IpFamily}), now_ns)
    return forwarder, {family: flows.transceivers for family, flows in families.items()}


def churn(forwarder: XdpForwarder, transceivers: Numbers) -> int:
    """How many flows began."""
    begun = 0
    while not select.select([sys.stdin], [], [], 0)[0]:
        for number_of_vip, version in enumerate(IpFamily):
            vip = VipIndex(number_of_vip)
            for number in range(CLIENTS):
                endpoint = client_of(number, version)
                client: Sockaddr = (
                    (*endpoint, 0, 0) if version is IpFamily.V6 else (endpoint.host, endpoint.port)
                )
                flow = forwarder.find(client, vip, time.monotonic_ns())
                if flow is not None:
                    forwarder.remove(flow, time.monotonic_ns())
                if number % CHANGES_PER_RECLAIM == begun % CHANGES_PER_RECLAIM:
                    transceivers[version].reclaim(time.monotonic_ns())  # that of this flow, too
                to = transceiver_of(number, version)
                stranger = Stranger(vip, client)
                made = forwarder.install(stranger, b"%028d" % begun, to, time.monotonic_ns())
                begun += isinstance(made, XdpFlow)
    return begun


if __name__ == "__main__":
    churner = open_forwarder(Path(sys.argv[1]))
    sys.stdout.write("churning\n")
    sys.stdout.flush()
    sys.stdout.write(f"{churn(*churner)}\n")

"""`python -m tests.edge.churner PIN_DIR`: begins and ends flows as fast as it can, until stdin speaks."""

from __future__ import annotations

import select
import sys
import time
from pathlib import Path

from core.addr import Endpoint
from ebpf.clock import SeenClock
from ebpf.index import Index
from ebpf.layout import GROUP_FIRST
from ebpf.tables import REST_S, Tables
from edge.fastpath.flow import XdpFlow
from edge.fastpath.forwarder import XdpForwarder
from edge.fastpath.nat_slots import NatRange, Slots
from edge.fastpath.transceiver_ids import Transceivers
from edge.nexthops.messages import routes_message
from edge.relay.counters import create
from edge.relay.forwarder import Sockaddr
from tests.edge.kit import Vip

CLIENTS = 64
FIRST_PORT, LAST_PORT = GROUP_FIRST, GROUP_FIRST + 4095
GROUPS = 4
"""So few that clients take each other's places there, and that not all find one."""
VIPS = {4: Vip(3, Endpoint("198.51.100.1", 3478)), 6: Vip(4, Endpoint("2001:db8:f::1", 3478))}
BACKBONES = {4: {0: "192.0.2.10"}, 6: {0: "2001:db8:b::10"}}
NUMBERS = 1000
"""For the transceivers of each family, so few that they are soon another's."""
CHANGES_PER_RECLAIM = 16
ROUTE_UP, ROUTE_DOWN = 7, 8


def client_of(number: int, version: int) -> Endpoint:
    return Endpoint(
        f"203.0.113.{number + 1}" if version == 4 else f"2001:db8:c::{number + 1:x}", 5000 + number
    )


def transceiver_of(number: int, version: int) -> Endpoint:
    """Each client has one of its own, so a packet tells whose record it was sent by."""
    return Endpoint(
        f"10.20.0.{number + 1}" if version == 4 else f"2001:db8:20::{number + 1:x}", 40000 + number
    )


Numbers = dict[int, Transceivers]


def open_forwarder(pin_dir: Path) -> tuple[XdpForwarder, Numbers]:
    tables, index, clock = Tables(pin_dir), Index(pin_dir), SeenClock(pin_dir)
    ranges = [NatRange(0, FIRST_PORT, LAST_PORT)]
    slots = {v: Slots(tables.records[v], ranges, frozenset(), clock) for v in (4, 6)}
    for version, each in slots.items():
        each.adopt(tables.marks[version], time.monotonic_ns())
    now_ns = time.monotonic_ns()
    transceivers = {v: Transceivers(tables, v, (0, 65535 // NUMBERS), now_ns) for v in (4, 6)}
    counters, _ = create()
    forwarder = XdpForwarder(
        tables, index, clock, slots, [vip.id for vip in VIPS.values()], BACKBONES, transceivers,
        2 * CLIENTS, 10**12, counters, lambda _: None, rest_ns=int(REST_S * 1e9),
    )  # fmt: skip
    forwarder.hops.learn_routes(routes_message({4: [(0, ROUTE_UP)], 6: [(0, ROUTE_UP)]}))
    return forwarder, transceivers


def churn(forwarder: XdpForwarder, transceivers: Numbers) -> int:
    """How many flows began."""
    begun = 0
    while not select.select([sys.stdin], [], [], 0)[0]:
        for vip, version in enumerate((4, 6)):
            for number in range(CLIENTS):
                endpoint = client_of(number, version)
                client: Sockaddr = (*endpoint, 0, 0) if version == 6 else (endpoint.host, endpoint.port)
                flow = forwarder.find(client, vip)
                if flow is not None:
                    forwarder.remove(flow)
                if number % CHANGES_PER_RECLAIM == begun % CHANGES_PER_RECLAIM:
                    transceivers[version].reclaim(time.monotonic_ns())  # that of this flow, too
                to = transceiver_of(number, version)
                made = forwarder.install(client, vip, b"%028d" % begun, to, time.monotonic_ns())
                begun += isinstance(made, XdpFlow)
    return begun


if __name__ == "__main__":
    churner = open_forwarder(Path(sys.argv[1]))
    sys.stdout.write("churning\n")
    sys.stdout.flush()
    sys.stdout.write(f"{churn(*churner)}\n")

"""One worker's forwarder over real maps, without interfaces; time is what a test says."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np

from core.addr import Endpoint, IpFamily
from core.keyring import Keyring
from core.token import Token, mint
from ebpf import layout
from ebpf.ids import BackboneIndex, NextHopId, VipId
from edge.fastpath.flow import XdpFlow
from edge.fastpath.forwarder import XdpForwarder
from edge.fastpath.open import Identities, open_store
from edge.relay.counters import Counters, Direction, SendError, create
from edge.relay.forwarder import Sockaddr, Stranger, VipIndex
from edge.relay.verdict import RelayReason
from tests.edge.kit import Vip
from tests.edge.nexthops.kit import one_view

S = 1_000_000_000
VIPS = (
    Vip(VipId(3), Endpoint("198.51.100.1", 3478)),
    Vip(VipId(4), Endpoint("2001:db8:f::1", 3478)),
)
V4, V6 = IpFamily.V4, IpFamily.V6
BACKBONES = {V4: {BackboneIndex(0): "192.0.2.10"}, V6: {BackboneIndex(0): "2001:db8:b::10"}}
TRANSCEIVERS = (Endpoint("127.0.0.1", 40001), Endpoint("::1", 40001))
KEYRING = Keyring({1: bytes(32)}, 1)
MAX_FLOWS, IDLE_NS = 12, 30 * S
ROUTE_UP, ROUTE_DOWN = NextHopId(7), NextHopId(8)
HOST_UP, HOST_DOWN, OTHER_HOST_DOWN = NextHopId(11), NextHopId(12), NextHopId(13)


def ufrag_of(session: int) -> bytes:
    return mint(Token(1, 1, 1, 40001, 1, session), KEYRING).encode()


def client_of(number: int, vip: int = 0) -> Sockaddr:
    return (f"203.0.113.{number + 1}", 5000) if vip == 0 else (f"2001:db8:c::{number + 1:x}", 5000, 0, 0)


class Rig:
    """One worker's forwarder, or one of several's; time is what the test says."""

    def __init__(
        self,
        pin_dir: Path,
        share: tuple[int, int] = (0, 1),
        ports: tuple[int, int] = (20000, 20031),
        *,
        keeps_ufrags: bool = False,
        max_flows: int = MAX_FLOWS,
    ) -> None:
        self.keeps_ufrags = keeps_ufrags
        self.max_flows = max_flows
        self.pin_dir = pin_dir
        self.share, self.ports = share, ports
        self.counters: Counters
        self.counters, self.fd = create()
        self.asked: list[str] = []
        self.open()

    def open(self) -> None:
        identities = Identities(
            self.pin_dir, [vip.id for vip in VIPS], BACKBONES, self.ports, self.keeps_ufrags
        )
        self.store = open_store(identities, [vip.endpoint for vip in VIPS], self.share, time.monotonic_ns)
        self.now_ns = time.monotonic_ns()
        self.tables, self.clock = self.store.maps.tables, self.store.maps.clock
        self.forwarder = XdpForwarder(self.store, self.max_flows, IDLE_NS, self.counters, self.asked.extend)
        tables = {
            V4: [(0, ROUTE_DOWN), (127 << 24, ROUTE_UP), (128 << 24, ROUTE_DOWN)],
            V6: [(0, ROUTE_UP), (2, ROUTE_DOWN)],
        }
        self.forwarder.hops.learn_routes(one_view(tables), self.now_ns)

    def find(self, number: int, vip: int = 0) -> XdpFlow | None:
        return self.forwarder.find(client_of(number, vip), VipIndex(vip), self.now_ns)

    def remove(self, flow: XdpFlow) -> None:
        self.forwarder.remove(flow, self.now_ns)

    def wipe(self, groups: int = 0) -> None:
        """No flows; and so many groups: with none, nobody's is among the ports of this rig."""
        self.tables.config["index_groups"] = groups
        for entries in (*self.tables.groups.values(), *self.tables.buckets.values()):
            entries[:] = 0
        for record in (each["common"] for records in self.tables.records.values() for each in records):
            record["state"], record["seen"] = layout.SLOT_OFF, 0
        for rows in self.tables.transceivers.values():
            rows[:] = 0

    def hops(self, version: IpFamily, slot: int) -> list[int]:
        return [int(each[0]) for each in self.tables.nexthops(version, np.array([slot]))]

    def install(self, number: int, session: int = 0, vip: int = 0) -> XdpFlow | RelayReason:
        stranger = Stranger(VipIndex(vip), client_of(number, vip))
        return self.forwarder.install(stranger, ufrag_of(session), TRANSCEIVERS[vip], self.now_ns)

    def answer(self, flow: XdpFlow) -> None:
        """What the program does when the transceiver of a flow has said something."""
        record = self.tables.records[flow.family][layout.DOWNSTREAM]["common"]
        record["packets"][flow.slot] += 1
        record["seen"][flow.slot] = self.clock.stamp(self.now_ns)

    def install_answered(self, number: int, session: int = 0, vip: int = 0) -> XdpFlow:
        """A flow that is confirmed."""
        flow = installed(self.install(number, session, vip))
        self.answer(flow)
        return flow

    def outcomes(self) -> list[int]:
        """Packets upstream: forwarded, failed, and failed for want of a neighbour."""
        up = Direction.UPSTREAM
        return [
            self.counters.get("packets", up, "forwarded"),
            self.counters.get("packets", up, "failed"),
            self.counters.get("send_failures", up, SendError.UNRESOLVED),
        ]

    def sweep_all(self) -> None:
        for _ in range(4):
            self.forwarder.sweep(self.now_ns)

    def close(self) -> None:
        self.forwarder.close()
        self.counters.close()
        os.close(self.fd)


def installed(outcome: XdpFlow | RelayReason) -> XdpFlow:
    assert isinstance(outcome, XdpFlow)
    return outcome

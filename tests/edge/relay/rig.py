"""One worker's slow path over the userspace forwarder, with real sockets and a clock that the test sets."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Network

from core.addr import Endpoint, IpFamily
from core.cluster import Cluster
from core.token import TokenReason
from edge.forwarders.userspace import UserspaceForwarder
from edge.forwarders.userspace_flow import UserspaceFlow
from edge.relay import counters
from edge.relay.counters import Counters
from edge.relay.decide import Relay
from edge.relay.forwarder import Sockaddr, VipIndex
from edge.relay.slowpath import SlowPath
from tests.edge.kit import (
    CLUSTER,
    KEYRING,
    MEDIA,
    PREFIX,
    Peer,
    mint_ufrag,
    now_min,
)
from tests.edge.relay.test_decide import STRANGERS

S = 1_000_000_000
IDLE_NS, TAKEOVER_NS = 30 * S, 5 * S
MAX_FLOWS = 4
VIPS = 2
CLIENT: Sockaddr = ("127.0.0.1", 9)
OTHER_CLIENT: Sockaddr = ("127.0.0.2", 9)


def sockaddr(peer: Peer) -> Sockaddr:
    """As the kernel has it."""
    return peer.address.host, peer.address.port


@dataclass
class Rig:
    """One worker's innards, two VIPs, two transceivers, and a clock that the test sets."""

    forwarder: UserspaceForwarder
    counters: Counters
    vips: list[Peer]
    transceivers: list[Peer]
    slow_path: SlowPath[UserspaceFlow] = field(init=False)
    now_ns: int = 1000 * S
    takes_ns: int = 0
    """How much later it is when a first packet has been sent on."""
    received: int = field(default=0)

    def ufrag(self, index: int = 0) -> bytes:
        """A fresh token for a transceiver."""
        return mint_ufrag(self.transceivers[index].address.port, host=index + 1)

    def take(self, data: bytes, client: Sockaddr, vip: int = 0) -> None:
        self.received += 1
        self.slow_path.receive_untrusted(
            memoryview(data), client, VipIndex(vip), IpFamily.V4, self.now_ns, now_min()
        )

    def answer(self, client: Sockaddr, vip: int = 0) -> None:
        """Let the transceiver of a flow say something, and the forwarder carry it."""
        flow = self.find(client, vip)
        assert flow is not None
        self._answer(flow)

    def answer_rival(self, client: Sockaddr) -> None:
        """The same of the other flow of a contested address."""
        flow = self.find(client)
        assert flow is not None
        assert flow.rival is not None
        self._answer(flow.rival)

    def _answer(self, flow: UserspaceFlow) -> None:
        relay = Endpoint(*flow.socket.getsockname()[:2])
        before = self.get("received_packets", "downstream")
        next(each for each in self.transceivers if each.address == flow.transceiver).send(MEDIA, relay)
        self.forwarder.carry_downstream()  # loopback delivers before send() returns
        assert self.get("received_packets", "downstream") == before + 1

    def find(self, client: Sockaddr, vip: int = 0) -> UserspaceFlow | None:
        return self.forwarder.find(client, VipIndex(vip), self.now_ns)

    def sweep_all(self) -> None:
        """As many sweeps as a whole round of the table takes."""
        for _ in range(100):
            self.forwarder.sweep(self.now_ns)

    def get(self, name: str, *labels: str) -> int:
        return self.counters.get(name, *labels)

    def total(self, name: str, *prefix: str) -> int:
        """The sum over all series of a family whose labels begin so."""
        rows = [row for family, *row in map(list, counters._INDEXES) if family == name]
        return sum(self.get(name, *row) for row in rows if row[: len(prefix)] == list(prefix))


@contextmanager
def open_rig(max_flows: int = MAX_FLOWS) -> Iterator[Rig]:
    vips = [Peer("127.0.0.5") for _ in range(VIPS)]
    transceivers = [Peer("127.77.0.1"), Peer("127.77.0.2")]
    shared, fd = counters.create()
    for vip in vips:
        vip.socket.setblocking(False)
    forwarder = UserspaceForwarder(
        [vip.socket for vip in vips], max_flows, IDLE_NS, shared, lambda: rig.now_ns
    )
    cluster = Cluster(CLUSTER, IPv4Network(PREFIX), None, 1024, 65535)
    relay = Relay(KEYRING, {CLUSTER: cluster}, TAKEOVER_NS)
    try:
        rig = Rig(forwarder, shared, vips, transceivers)
        rig.slow_path = SlowPath(relay, forwarder, shared, lambda: rig.now_ns + rig.takes_ns)
        yield rig
    finally:
        forwarder.close()
        shared.close()
        socket.close(fd)
        for peer in vips + transceivers:
            peer.close()


HOPELESS = {
    name: case
    for name, case in STRANGERS.items()
    if case[1] not in {TokenReason.PORT_OUT_OF_RANGE, TokenReason.NO_PREFIX_IN_FAMILY}
}
"""What no configuration would let in; the rig's single cluster takes any port from 1024 on."""

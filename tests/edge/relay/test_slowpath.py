"""edge.relay.slowpath over edge.forwarders.userspace with real sockets: bounds, counts, where packets go."""

from __future__ import annotations

import gc
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Network

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from core.addr import Endpoint, IpFamily
from core.cluster import Cluster
from core.token import TokenReason
from edge.forwarders.userspace import UserspaceFlow, UserspaceForwarder
from edge.relay import counters
from edge.relay.counters import Counters
from edge.relay.decide import Relay
from edge.relay.forwarder import MAX_ADDRESSES_PER_TOKEN, Sockaddr, VipIndex
from edge.relay.slowpath import SlowPath
from edge.relay.verdict import RelayReason
from tests.edge.kit import (
    CLUSTER,
    DTLS,
    KEYRING,
    MEDIA,
    PREFIX,
    Peer,
    eventually,
    mint_ufrag,
    now_min,
    request,
)
from tests.edge.relay.test_decide import STRANGERS

S = 1_000_000_000
IDLE_NS, TAKEOVER_NS = 30 * S, 5 * S
MAX_FLOWS = 4
VIPS = 2


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
    forwarder = UserspaceForwarder([vip.socket for vip in vips], max_flows, IDLE_NS, shared)
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


@pytest.fixture
def rig() -> Iterator[Rig]:
    with open_rig() as opened:
        yield opened


HOPELESS = {
    name: case
    for name, case in STRANGERS.items()
    if case[1] not in {TokenReason.PORT_OUT_OF_RANGE, TokenReason.NO_PREFIX_IN_FAMILY}
}
"""What no configuration would let in; the rig's single cluster takes any port from 1024 on."""

CLIENT: Sockaddr = ("127.0.0.1", 9)
OTHER_CLIENT: Sockaddr = ("127.0.0.2", 9)


def test_the_first_packet_arrives_as_it_came(rig: Rig) -> None:
    check = request(rig.ufrag())
    rig.take(check, CLIENT)
    assert rig.transceivers[0].receive()[0] == check
    assert rig.get("installs", "installed") == rig.get("flows") == len(rig.forwarder) == 1
    assert rig.total("first_packet_bucket") == 1


@pytest.mark.parametrize(
    ("takes_ns", "bucket"),
    [(0, "50000"), (50_000, "50000"), (50_001, "100000"), (249_999_999, "250000000"), (2 * S, "inf")],
)
def test_what_a_first_packet_takes_is_told_by_the_clock_that_was_given(
    rig: Rig, takes_ns: int, bucket: str
) -> None:
    rig.takes_ns = takes_ns
    rig.take(request(rig.ufrag()), CLIENT)
    assert rig.get("first_packet_bucket", bucket) == rig.total("first_packet_bucket") == 1
    assert rig.get("first_packet_sum_ns") == takes_ns


def test_a_transceiver_sees_every_client_at_an_address_of_its_own(rig: Rig) -> None:
    sources = set()
    for client in (CLIENT, OTHER_CLIENT):
        for vip in range(VIPS):
            rig.take(request(rig.ufrag()), client, vip)
            sources.add(rig.transceivers[0].receive()[1])
    assert len(sources) == 4


def test_what_a_transceiver_sends_comes_from_the_vip_that_the_client_used(rig: Rig) -> None:
    client = Peer("127.0.0.1")
    for index, vip in enumerate(rig.vips):
        rig.take(request(rig.ufrag()), sockaddr(client), index)
        _, relay = rig.transceivers[0].receive()
        rig.transceivers[0].send(DTLS, relay)
        eventually(lambda: rig.forwarder.carry_downstream() or not client.is_silent(), "carried")
        assert client.receive() == (DTLS, vip.address)
    client.close()


def test_only_the_transceiver_can_send_to_a_client(rig: Rig) -> None:
    """The upstream sockets are connected: the kernel keeps everyone else out."""
    client, stranger = Peer("127.0.0.1"), Peer("127.77.0.9")
    rig.take(request(rig.ufrag()), sockaddr(client))
    _, relay = rig.transceivers[0].receive()
    stranger.send(MEDIA, relay)
    rig.transceivers[1].send(MEDIA, relay)
    rig.transceivers[0].send(DTLS, relay)
    eventually(lambda: rig.forwarder.carry_downstream() or not client.is_silent(), "carried")
    assert client.receive()[0] == DTLS
    assert client.is_silent()
    assert rig.get("received_packets", "downstream") == 1
    client.close()
    stranger.close()


def test_one_busy_flow_leaves_room_for_others(rig: Rig) -> None:
    busy, quiet = Peer("127.0.0.1"), Peer("127.0.0.1")
    paths = []
    for client in (busy, quiet):
        rig.take(request(rig.ufrag()), sockaddr(client))
        paths.append(rig.transceivers[0].receive()[1])
    for _ in range(100):
        rig.transceivers[0].send(MEDIA, paths[0])
    rig.transceivers[0].send(DTLS, paths[1])
    eventually(lambda: rig.forwarder.carry_downstream() or not quiet.is_silent(), "carried")
    assert rig.get("received_packets", "downstream") < 100
    eventually(
        lambda: rig.forwarder.carry_downstream() or rig.get("received_packets", "downstream") == 101, "rest"
    )
    busy.close()
    quiet.close()


def test_a_full_table_keeps_what_it_has(rig: Rig) -> None:
    for number in range(MAX_FLOWS):
        rig.take(request(rig.ufrag()), ("127.0.0.1", 100 + number))
    rig.take(request(rig.ufrag()), ("127.0.0.1", 99))
    assert rig.get("refusals", RelayReason.TABLE_FULL) == rig.get("installs", RelayReason.TABLE_FULL) == 1
    assert len(rig.forwarder) == MAX_FLOWS
    rig.take(MEDIA, ("127.0.0.1", 100))
    assert rig.get("packets", "upstream", "forwarded") == MAX_FLOWS + 1


def test_one_token_cannot_fill_the_table() -> None:
    with open_rig(max_flows=100) as rig:
        ufrag = rig.ufrag()
        for number in range(MAX_ADDRESSES_PER_TOKEN + 1):
            rig.take(request(ufrag), ("127.0.0.1", 100 + number))
        assert len(rig.forwarder) == MAX_ADDRESSES_PER_TOKEN
        assert rig.get("refusals", RelayReason.TOO_MANY_ADDRESSES) == 1
        rig.now_ns += IDLE_NS + 1
        rig.sweep_all()
        rig.take(request(ufrag), ("127.0.0.1", 99))
        assert len(rig.forwarder) == 1


def test_silence_ends_a_flow_and_downstream_does_not_keep_it(rig: Rig) -> None:
    client = Peer("127.0.0.1")
    rig.take(request(rig.ufrag()), sockaddr(client))
    rig.take(request(rig.ufrag()), OTHER_CLIENT)
    _, relay = rig.transceivers[0].receive()
    rig.now_ns += IDLE_NS
    rig.take(MEDIA, OTHER_CLIENT)
    rig.transceivers[0].send(MEDIA, relay)
    eventually(lambda: rig.forwarder.carry_downstream() or not client.is_silent(), "carried")
    rig.forwarder.sweep(rig.now_ns)
    assert len(rig.forwarder) == 2
    rig.now_ns += 1
    rig.sweep_all()
    assert rig.find(sockaddr(client)) is None
    assert rig.find(OTHER_CLIENT) is not None
    assert rig.get("removals", "idle") == 1
    client.close()


def test_a_move_leads_to_the_other_transceiver_from_a_new_address(rig: Rig) -> None:
    rig.take(request(rig.ufrag(0)), CLIENT)
    _, old = rig.transceivers[0].receive()
    taker = request(rig.ufrag(1))
    rig.take(taker, CLIENT)
    assert rig.get("refusals", RelayReason.FLOW_IN_USE) == 1
    rig.now_ns += TAKEOVER_NS
    rig.take(taker, CLIENT)
    data, new = rig.transceivers[1].receive()
    assert data == taker
    assert new != old
    assert (rig.get("removals", "moved"), rig.get("installs", "installed"), rig.get("flows")) == (1, 2, 1)
    rig.take(MEDIA, CLIENT)
    assert rig.transceivers[1].receive()[0] == MEDIA


def test_a_rebound_flow_keeps_the_address_that_its_transceiver_knows(rig: Rig) -> None:
    renewed = request(rig.ufrag())
    rig.take(request(rig.ufrag()), CLIENT)
    rig.take(renewed, CLIENT)
    sources = {rig.transceivers[0].receive()[1] for _ in range(2)}
    assert len(sources) == 1
    assert rig.get("installs", "rebound") == 1
    assert rig.find(CLIENT) is not None


def test_a_closed_port_is_counted_and_kills_nothing(rig: Rig) -> None:
    gone = Peer("127.77.0.3")
    ufrag = mint_ufrag(gone.address.port, host=3)
    gone.close()
    for _ in range(3):
        rig.take(request(ufrag), CLIENT)
        rig.forwarder.carry_downstream()
    assert rig.total("pending_errors") >= 2
    assert rig.get("pending_errors", "refused") == rig.total("pending_errors")
    assert rig.get("packets", "upstream", "forwarded") == 3
    back = Peer("127.77.0.3", gone.address.port)
    rig.take(MEDIA, CLIENT)
    assert back.receive()[0] == MEDIA
    back.close()


def test_a_datagram_too_big_to_send_is_a_counted_failure(rig: Rig) -> None:
    rig.take(request(rig.ufrag()), CLIENT)
    rig.take(bytes([0x80]) * 65508, CLIENT)
    assert rig.get("send_failures", "upstream", "too_big") == rig.get("packets", "upstream", "failed") == 1
    assert rig.get("bytes", "upstream", "failed") == 65508
    rig.take(MEDIA, CLIENT)
    assert rig.get("packets", "upstream", "forwarded") == 2


def test_a_client_that_cannot_be_reached_is_a_counted_failure(rig: Rig) -> None:
    rig.take(request(rig.ufrag()), ("255.255.255.255", 9))  # sending there needs SO_BROADCAST
    _, relay = rig.transceivers[0].receive()
    rig.transceivers[0].send(MEDIA, relay)
    eventually(
        lambda: rig.forwarder.carry_downstream() or rig.get("packets", "downstream", "failed") == 1, "failed"
    )
    assert rig.total("send_failures", "downstream") == 1
    assert rig.get("packets", "downstream", "forwarded") == 0


def test_a_route_that_is_missing_is_a_refusal(rig: Rig) -> None:
    nowhere = Cluster(CLUSTER, IPv4Network("255.255.255.254/31"), None, 1, 65535)
    rig.slow_path.relay = Relay(KEYRING, {CLUSTER: nowhere}, TAKEOVER_NS)
    rig.take(request(rig.ufrag()), CLIENT)
    assert rig.get("refusals", RelayReason.UNREACHABLE) == rig.get("installs", RelayReason.UNREACHABLE) == 1
    assert len(rig.forwarder) == 0


def test_every_kind_of_bad_packet_is_counted_once_under_its_reason(rig: Rig) -> None:
    expected: dict[str, int] = {}
    for data, reason in HOPELESS.values():
        expected[str(reason)] = expected.get(str(reason), 0) + 1
        rig.take(data, CLIENT)
    assert {r: n for (r,) in counters.SHARED["refusals"].rows if (n := rig.get("refusals", r))} == expected
    assert rig.get("packets", "upstream", "refused") == rig.received == sum(expected.values())


def test_packets_leave_no_reference_cycles(rig: Rig) -> None:
    """Workers run without the garbage collector."""
    gc.collect()
    gc.disable()
    try:
        for number in range(50):
            client = ("127.0.0.1", 100 + number)
            rig.take(request(rig.ufrag()), client)
            rig.take(request(rig.ufrag()), client)
            rig.take(MEDIA, client)
            for data, _ in HOPELESS.values():
                rig.take(data, client)
            rig.forwarder.carry_downstream()
            rig.now_ns += IDLE_NS + 1
            rig.sweep_all()
        assert gc.collect() == 0
    finally:
        gc.enable()


class RelayMachine(RuleBasedStateMachine):
    """Any sequence of packets, silences and sweeps."""

    def __init__(self) -> None:
        super().__init__()
        self.context = open_rig()
        self.rig = self.context.__enter__()
        self.ufrags = [self.rig.ufrag(index % 2) for index in range(6)]
        self.arrived = 0

    clients = st.builds(lambda n: ("127.0.0.1", 100 + n), st.integers(0, 6))
    vips = st.integers(0, VIPS - 1)

    @rule(client=clients, vip=vips, index=st.integers(0, 5))
    def proven_check(self, client: Sockaddr, vip: int, index: int) -> None:
        self.rig.take(request(self.ufrags[index]), client, vip)

    @rule(client=clients, vip=vips, case=st.sampled_from(sorted(HOPELESS)))
    def bad_packet(self, client: Sockaddr, vip: int, case: str) -> None:
        self.rig.take(HOPELESS[case][0], client, vip)

    @rule(client=clients, vip=vips, data=st.binary(max_size=64))
    def noise(self, client: Sockaddr, vip: int, data: bytes) -> None:
        self.rig.take(data, client, vip)

    @rule(seconds=st.sampled_from([0.001, 1, 5, 31]))
    def time_passes(self, seconds: float) -> None:
        self.rig.now_ns += int(seconds * S)

    @rule()
    def sweep(self) -> None:
        self.rig.forwarder.sweep(self.rig.now_ns)

    @precondition(lambda self: len(self.rig.forwarder) > 0)
    @rule()
    def full_sweep_ends_exactly_the_silent(self) -> None:
        self.rig.sweep_all()
        for flow in self.flows():
            assert self.rig.now_ns - flow.last_upstream_ns <= IDLE_NS

    def flows(self) -> list[UserspaceFlow]:
        keys = [(("127.0.0.1", 100 + n), vip) for n in range(7) for vip in range(VIPS)]
        found = [self.rig.find(client, vip) for client, vip in keys]
        return [flow for flow in found if flow is not None]

    @invariant()
    def bounds_hold_and_accounts_balance(self) -> None:
        rig = self.rig
        assert len(self.flows()) == len(rig.forwarder) == rig.get("flows") <= MAX_FLOWS
        assert rig.get("installs", "installed") - rig.total("removals") == len(rig.forwarder)

    @invariant()
    def every_packet_is_counted_once(self) -> None:
        rig = self.rig
        assert rig.get("received_packets", "upstream") == rig.received == rig.total("packets", "upstream")
        assert rig.get("received_bytes", "upstream") == rig.total("bytes", "upstream")
        assert rig.get("packets", "upstream", "refused") == rig.total("refusals")
        assert rig.get("packets", "upstream", "failed") == rig.total("send_failures", "upstream")

    @invariant()
    def flows_lead_where_their_token_says_and_nowhere_else(self) -> None:
        for flow in self.flows():
            lead = self.rig.transceivers[self.ufrags.index(flow.ufrag) % 2].address
            assert flow.transceiver == lead
            assert Endpoint(*flow.socket.getpeername()) == lead

    def teardown(self) -> None:
        self.context.__exit__(None, None, None)


TestRelayMachine = RelayMachine.TestCase
TestRelayMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)

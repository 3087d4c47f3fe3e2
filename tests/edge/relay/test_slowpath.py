"""edge.relay.slowpath over edge.forwarders.userspace with real sockets: bounds, counts, where packets go."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Network

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from core.addr import Endpoint
from core.cluster import Cluster
from core.token import TokenReason
from edge.forwarders.life import SILENCE_NS, UNCONFIRMED_NS
from edge.forwarders.userspace_flow import UserspaceFlow
from edge.relay import counters
from edge.relay.decide import Relay
from edge.relay.forwarder import MAX_ADDRESSES_PER_TOKEN, Sockaddr, Stranger, VipIndex
from edge.relay.verdict import Action, RelayReason, Verdict
from tests.edge.kit import (
    CLUSTER,
    DTLS,
    KEYRING,
    MEDIA,
    PREFIX,
    mint_ufrag,
    request,
)
from tests.edge.relay.rig import (
    CLIENT,
    HOPELESS,
    IDLE_NS,
    MAX_FLOWS,
    OTHER_CLIENT,
    TAKEOVER_NS,
    VIPS,
    Rig,
    S,
    open_rig,
)
from tests.suite.fuzzing import times


@pytest.fixture
def rig() -> Iterator[Rig]:
    with open_rig() as opened:
        yield opened


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


def test_a_full_table_keeps_what_is_confirmed(rig: Rig) -> None:
    rig.take(request(rig.ufrag()), ("127.0.0.1", 98))
    for number in range(MAX_FLOWS):
        rig.take(request(rig.ufrag()), ("127.0.0.1", 100 + number))
        rig.answer(("127.0.0.1", 100 + number))
    assert rig.get("removals", "evicted") == 1, "to which nothing had come back"
    rig.take(request(rig.ufrag()), ("127.0.0.1", 99))
    assert rig.get("refusals", RelayReason.TABLE_FULL) == rig.get("installs", RelayReason.TABLE_FULL) == 1
    assert len(rig.forwarder) == MAX_FLOWS
    rig.take(MEDIA, ("127.0.0.1", 100))
    assert rig.get("packets", "upstream", "forwarded") == 1 + MAX_FLOWS + 1


def test_one_token_cannot_fill_the_table() -> None:
    with open_rig(max_flows=100) as rig:
        ufrag = rig.ufrag()
        for number in range(MAX_ADDRESSES_PER_TOKEN):
            rig.take(request(ufrag), ("127.0.0.1", 100 + number))
            rig.answer(("127.0.0.1", 100 + number))
        rig.take(request(ufrag), ("127.0.0.1", 99))
        assert len(rig.forwarder) == MAX_ADDRESSES_PER_TOKEN
        assert rig.get("refusals", RelayReason.TOO_MANY_ADDRESSES) == 1
        rig.now_ns += SILENCE_NS + 1
        rig.sweep_all()
        rig.take(request(ufrag), ("127.0.0.1", 99))
        assert len(rig.forwarder) == 1


def test_one_check_replayed_from_everywhere_leaves_room_for_its_owner() -> None:
    """Of two hundred addresses none answers; the client speaks, then its NAT gives it another port."""
    with open_rig(max_flows=1000) as rig:
        ufrag = rig.ufrag()
        overheard = request(ufrag)
        rig.take(overheard, CLIENT)
        rig.answer(CLIENT)
        for number in range(200):
            rig.now_ns += S // 100
            rig.take(overheard, (f"127.0.1.{number}", 9))
        rig.answer(CLIENT)
        rig.take(request(ufrag), OTHER_CLIENT)
        assert rig.find(OTHER_CLIENT) is not None
        assert rig.find(CLIENT) is not None
        assert len(rig.forwarder) == MAX_ADDRESSES_PER_TOKEN
        assert rig.get("refusals", RelayReason.TOO_MANY_ADDRESSES) == 0


def test_a_silent_client_ends_a_flow_and_downstream_does_not_keep_it(rig: Rig) -> None:
    for client in (CLIENT, OTHER_CLIENT):
        rig.take(request(rig.ufrag()), client)
        rig.answer(client)
    rig.now_ns += IDLE_NS
    rig.take(MEDIA, OTHER_CLIENT)
    rig.answer(CLIENT)
    rig.answer(OTHER_CLIENT)
    rig.sweep_all()
    assert len(rig.forwarder) == 2
    rig.now_ns += 1
    rig.sweep_all()
    assert rig.find(CLIENT) is None
    assert rig.find(OTHER_CLIENT) is not None
    assert rig.get("removals", "idle") == 1


def test_a_silent_transceiver_ends_a_flow_and_upstream_does_not_keep_it(rig: Rig) -> None:
    """A datagram every few seconds once kept a table full that no session was left behind."""
    for client in (CLIENT, OTHER_CLIENT):
        rig.take(request(rig.ufrag()), client)
        rig.answer(client)
    rig.now_ns += SILENCE_NS
    rig.answer(OTHER_CLIENT)
    rig.sweep_all()
    assert len(rig.forwarder) == 2
    rig.now_ns += 1
    rig.take(MEDIA[:29], CLIENT)
    rig.sweep_all()
    assert rig.find(CLIENT) is None
    assert rig.find(OTHER_CLIENT) is not None
    assert rig.get("removals", "unanswered") == 1


def test_a_flow_that_was_never_answered_ends_soon_and_one_of_a_store_later(rig: Rig) -> None:
    rig.take(request(rig.ufrag()), CLIENT)
    restored = Verdict(Action.CREATE, None, rig.ufrag(), rig.transceivers[0].address)
    rig.slow_path.restore(restored, Stranger(VipIndex(0), OTHER_CLIENT), rig.now_ns)
    assert rig.get("unconfirmed") == 2
    rig.now_ns += UNCONFIRMED_NS
    rig.sweep_all()
    assert rig.find(CLIENT) is not None
    rig.now_ns += 1
    rig.take(MEDIA, CLIENT)
    rig.sweep_all()
    assert rig.find(CLIENT) is None, "whatever its client says"
    assert rig.find(OTHER_CLIENT) is not None
    rig.now_ns += SILENCE_NS
    rig.sweep_all()
    assert len(rig.forwarder) == rig.get("unconfirmed") == 0
    assert rig.get("removals", "unanswered") == 2


def heard(rig: Rig, index: int) -> list[bytes]:
    """What has come to a transceiver, so far."""
    found = []
    while not rig.transceivers[index].is_silent():
        found.append(rig.transceivers[index].receive()[0])
    return found


@pytest.mark.parametrize("silent_s", [0.0, 6.0, 8.9])
def test_a_spoofed_check_of_the_thiefs_own_call_takes_nothing_from_the_caller(
    rig: Rig, silent_s: float
) -> None:
    """However long the caller was silent, and whatever of the thief's goes on."""
    mine, thiefs = request(rig.ufrag(0)), request(rig.ufrag(1))
    rig.take(mine, CLIENT)
    rig.answer(CLIENT)
    rig.now_ns += int(silent_s * S)
    heard(rig, 0)
    for _ in range(20):
        rig.now_ns += S // 5
        rig.take(thiefs, CLIENT)
        rig.answer(CLIENT)
        rig.sweep_all()
        rig.take(MEDIA, CLIENT)
        rig.take(mine, CLIENT)
    assert heard(rig, 0) == [MEDIA, mine] * 20
    assert rig.find(CLIENT) is not None
    assert len(rig.forwarder) == 1 + rig.get("contested")


def test_a_second_client_at_the_address_of_a_call_is_served_at_once_and_alone_once_that_is_over(
    rig: Rig,
) -> None:
    """A NAT gave it the port of a client that has died; its transceiver still sends."""
    check, renewed = request(rig.ufrag(1)), request(rig.ufrag(1))
    rig.take(request(rig.ufrag(0)), CLIENT)
    rig.answer(CLIENT)
    for datagram in (check, DTLS, MEDIA, renewed):
        rig.take(datagram, CLIENT)
    assert heard(rig, 1) == [check, DTLS, MEDIA, renewed]
    assert heard(rig, 0)[1:] == [DTLS, MEDIA], "what does not say whose it is"
    assert (rig.get("contested"), rig.get("copies", "forwarded"), len(rig.forwarder)) == (1, 2, 2)
    owner = rig.find(CLIENT)
    assert owner is not None
    assert owner.rival is not None
    assert [rig.forwarder.holder(each.place) is None for each in (owner, owner.rival)] == [False, True]
    told: list[UserspaceFlow] = []
    rig.forwarder.on_promoted = told.append
    for _ in range(2):
        rig.now_ns += SILENCE_NS // 2 + 1
        rig.answer_rival(CLIENT)
        rig.sweep_all()
    assert (rig.get("contested"), len(rig.forwarder), rig.get("removals", "unanswered")) == (0, 1, 1)
    alone = rig.find(CLIENT)
    assert told == [alone]
    assert alone is not None
    rig.take(MEDIA, CLIENT)
    assert heard(rig, 1) == [MEDIA]
    assert heard(rig, 0) == []
    assert rig.forwarder.holder(alone.place) is not None
    assert alone.owner is alone.rival is None


def test_a_rival_that_is_never_answered_is_gone_soon(rig: Rig) -> None:
    rig.take(request(rig.ufrag(0)), CLIENT)
    rig.answer(CLIENT)
    rig.take(request(rig.ufrag(1)), CLIENT)
    rig.now_ns += UNCONFIRMED_NS + 1
    rig.answer(CLIENT)
    rig.sweep_all()
    assert (rig.get("contested"), len(rig.forwarder)) == (0, 1)
    flow = rig.find(CLIENT)
    assert flow is not None
    assert flow.transceiver == rig.transceivers[0].address
    assert flow.rival is None


def test_no_third_call_has_an_address_until_its_transceiver_is_silent(rig: Rig) -> None:
    rig.slow_path.relay = relay_to_many()
    third = mint_ufrag(rig.transceivers[0].address.port, host=2)
    rig.take(request(rig.ufrag(0)), CLIENT)
    rig.answer(CLIENT)
    rig.take(request(rig.ufrag(1)), CLIENT)
    rig.answer_rival(CLIENT)
    rig.take(request(third), CLIENT)
    assert rig.get("refusals", RelayReason.FLOW_IN_USE) == 1
    assert len(rig.forwarder) == 2
    rig.now_ns += TAKEOVER_NS - 1
    rig.take(request(third), CLIENT)
    assert rig.get("refusals", RelayReason.FLOW_IN_USE) == 2
    rig.now_ns += 1
    rig.take(request(third), CLIENT)
    assert rig.get("removals", "moved") == 1
    owner = rig.find(CLIENT)
    assert owner is not None
    assert owner.rival is not None
    assert owner.rival.ufrag == third


def relay_to_many() -> Relay:
    cluster = Cluster(CLUSTER, IPv4Network(PREFIX), None, 1024, 65535)
    return Relay(KEYRING, {CLUSTER: cluster}, TAKEOVER_NS)


@pytest.mark.parametrize("index", [0, 1])
def test_renewed_checks_at_a_contested_address_rename_the_flow_that_they_lead_to(
    rig: Rig, index: int
) -> None:
    for first in (0, 1):
        rig.take(request(rig.ufrag(first)), CLIENT)
    renewed = rig.ufrag(index)
    rig.take(request(renewed), CLIENT)
    owner = rig.find(CLIENT)
    assert owner is not None
    assert owner.rival is not None
    assert [owner.ufrag == renewed, owner.rival.ufrag == renewed] == [index == 0, index == 1]
    assert rig.get("installs", "rebound") == 1
    rig.take(request(renewed), CLIENT)
    assert len(heard(rig, index)) == 3
    assert len(heard(rig, 1 - index)) == 1


def test_a_strangers_check_does_not_end_a_call_that_has_outlived_its_token(rig: Rig) -> None:
    """One of the same process: the flow is renamed, and the caller's own check names it again."""
    old = mint_ufrag(rig.transceivers[0].address.port, lifetime_min=-5)
    rig.slow_path.restore(
        Verdict(Action.CREATE, None, old, rig.transceivers[0].address),
        Stranger(VipIndex(0), CLIENT),
        rig.now_ns,
    )
    rig.answer(CLIENT)
    thiefs, mine = request(rig.ufrag(0)), request(old)
    for datagram in (thiefs, mine, MEDIA, mine):
        rig.take(datagram, CLIENT)
    assert heard(rig, 0) == [thiefs, mine, MEDIA, mine]
    rig.take(request(mint_ufrag(rig.transceivers[1].address.port, host=2, lifetime_min=-5)), CLIENT)
    assert rig.get("refusals", TokenReason.EXPIRED) == 1, "which it must not do elsewhere"


def test_a_rebound_flow_keeps_the_address_that_its_transceiver_knows(rig: Rig) -> None:
    renewed = request(rig.ufrag())
    rig.take(request(rig.ufrag()), CLIENT)
    rig.take(renewed, CLIENT)
    sources = {rig.transceivers[0].receive()[1] for _ in range(2)}
    assert len(sources) == 1
    assert rig.get("installs", "rebound") == 1
    assert rig.find(CLIENT) is not None


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


def test_a_check_from_port_0_opens_nothing(rig: Rig) -> None:
    """No answer could be sent to it."""
    nowhere = ("127.0.0.9", 0)
    rig.take(request(rig.ufrag()), nowhere)
    assert rig.find(nowhere) is None
    assert rig.get("refusals", RelayReason.NO_SOURCE_PORT) == 1
    assert rig.total("flows") == 0


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

    @rule(client=clients, vip=vips)
    def answer(self, client: Sockaddr, vip: int) -> None:
        if self.rig.find(client, vip) is not None:
            self.rig.answer(client, vip)

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
    def full_sweep_leaves_none_that_is_silent(self) -> None:
        self.rig.sweep_all()
        for flow in self.flows():
            assert self.rig.now_ns - flow.last_upstream_ns <= IDLE_NS
            assert self.rig.now_ns - flow.last_downstream_ns <= SILENCE_NS
            assert flow.is_confirmed or self.rig.now_ns - flow.last_downstream_ns <= UNCONFIRMED_NS

    def flows(self) -> list[UserspaceFlow]:
        keys = [(("127.0.0.1", 100 + n), vip) for n in range(7) for vip in range(VIPS)]
        found = [self.rig.find(client, vip) for client, vip in keys]
        owners = [flow for flow in found if flow is not None]
        return owners + [flow.rival for flow in owners if flow.rival is not None]

    @invariant()
    def bounds_hold_and_accounts_balance(self) -> None:
        rig = self.rig
        assert len(self.flows()) == len(rig.forwarder) == rig.get("flows") <= MAX_FLOWS
        assert rig.get("contested") == sum(flow.owner is not None for flow in self.flows())
        assert rig.get("installs", "installed") - rig.total("removals") == len(rig.forwarder)
        assert rig.get("unconfirmed") == sum(not flow.is_confirmed for flow in self.flows())

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


TestRelayMachine = pytest.mark.fuzz(RelayMachine.TestCase)
TestRelayMachine.settings = settings(max_examples=times(60), stateful_step_count=40, deadline=None)

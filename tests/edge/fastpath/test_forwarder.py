"""The forwarder over real maps, without interfaces: slots, entries, sweeps, bounds, adoption."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from core.addr import Endpoint, IpFamily
from core.keyring import Keyring
from core.token import Token, mint
from ebpf import layout, loader, pins
from ebpf.flows import FlowRecord, ufrag_mark
from ebpf.ids import NOWHERE, BackboneIndex, EgressId, NatSlot, NextHopId, TransceiverId, VipId
from ebpf.kernel import bpffs
from ebpf.tables import Adjacency
from edge.fastpath import forwarder as xdp
from edge.fastpath import sweep
from edge.fastpath.flow import XdpFlow
from edge.fastpath.forwarder import XdpForwarder
from edge.fastpath.nat_slots import REST_NS, NatRange, Slots, share_ports
from edge.fastpath.open import Identities, open_store
from edge.forwarders.sweep import ROUNDS_PER_TIMEOUT, TICK_S
from edge.nexthops.messages import ON_LINK, hosts_messages, routes_message
from edge.ops.flow_query import Filter, Selection, select
from edge.relay.counters import Counters, Direction, Removal, SendError, create
from edge.relay.forwarder import MAX_ADDRESSES_PER_TOKEN, Sockaddr, VipIndex
from edge.relay.verdict import RelayReason
from tests.edge.kit import PATIENCE_S, REPOSITORY, Vip, eventually

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes BPF maps")

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


@pytest.fixture(scope="module")
def pin_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    root = tmp_path_factory.mktemp("bpf")
    bpffs.mount(root)
    directory = root / "v1"
    pins.ensure_maps(directory, pins.Sizes(MAX_FLOWS, MAX_FLOWS, 1, 1, 64))
    loaded = loader.load(directory)
    loader.pin(loaded, directory)
    loaded.close()
    yield directory
    bpffs.unmount(root)


class Rig:
    """One worker's forwarder, or one of several's; time is what the test says."""

    def __init__(
        self, pin_dir: Path, share: tuple[int, int] = (0, 1), ports: tuple[int, int] = (20000, 20031)
    ) -> None:
        self.pin_dir = pin_dir
        self.share, self.ports = share, ports
        self.counters: Counters
        self.counters, self.fd = create()
        self.asked: list[str] = []
        self.open()

    def open(self) -> None:
        identities = Identities(self.pin_dir, [vip.id for vip in VIPS], BACKBONES, self.ports)
        self.store = open_store(identities, [vip.endpoint for vip in VIPS], self.share, time.monotonic_ns)
        self.now_ns = time.monotonic_ns()
        self.tables, self.clock = self.store.maps.tables, self.store.maps.clock
        self.forwarder = XdpForwarder(self.store, MAX_FLOWS, IDLE_NS, self.counters, self.asked.extend)
        tables = {
            V4: [(0, ROUTE_DOWN), (127 << 24, ROUTE_UP), (128 << 24, ROUTE_DOWN)],
            V6: [(0, ROUTE_UP), (2, ROUTE_DOWN)],
        }
        self.forwarder.hops.learn_routes(routes_message(tables))

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
        return self.forwarder.install(
            client_of(number, vip), VipIndex(vip), ufrag_of(session), TRANSCEIVERS[vip], self.now_ns
        )

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


@pytest.fixture
def rig(pin_dir: Path) -> Iterator[Rig]:
    first = Rig(pin_dir)
    first.wipe()
    first.close()
    made = Rig(pin_dir)
    yield made
    made.close()


def show(rig: Rig, limit: int | None) -> Selection:
    return select(rig.pin_dir, Filter(), limit, time.monotonic_ns)


def test_the_list_shows_what_records_say(rig: Rig) -> None:
    for vip in (0, 1):
        rig.tables.set_vip(VIPS[vip].id, VIPS[vip].endpoint)
        rig.tables.set_backbone(BackboneIndex(0), BACKBONES[V6 if vip else V4][BackboneIndex(0)])
        flow = rig.install(2, vip=vip)
        assert isinstance(flow, XdpFlow)
        upstream, downstream = (records["common"] for records in rig.tables.records[flow.family])
        upstream["counts"][flow.slot] = 11 + vip | 100 << layout.COUNT_BITS
        rig.tables.aux[flow.family][["packets", "bytes"]][flow.slot] = 255, 1000
        downstream["packets"][flow.slot], downstream["bytes"][flow.slot] = 5, 500 + vip
    found = show(rig, None)
    assert (found.total, found.matching) == (2, {V4: 1, V6: 1})
    four, six = found.shown
    assert (four.client, four.vip) == ("203.0.113.3:5000", "198.51.100.1:3478")
    assert (four.transceiver, four.nat_port) == ("127.0.0.1:40001", "192.0.2.10:20000")
    assert (six.client, six.vip) == ("[2001:db8:c::3]:5000", "[2001:db8:f::1]:3478")
    assert (six.transceiver, six.nat_port) == ("[::1]:40001", "[2001:db8:b::10]:20000")
    assert (four.packets_up, four.bytes_up, four.packets_down, four.bytes_down) == (266, 1100, 5, 500)
    assert (six.packets_up, six.bytes_up, six.packets_down, six.bytes_down) == (267, 1100, 5, 501)
    assert 0 <= four.idle_s < 20
    assert show(rig, 1).shown[0].client == four.client
    assert show(rig, 0).shown == []


def installed(outcome: XdpFlow | RelayReason) -> XdpFlow:
    assert isinstance(outcome, XdpFlow)
    return outcome


@pytest.mark.parametrize("vip", [0, 1], ids=["ipv4", "ipv6"])
def test_a_flow_is_found_as_it_was_installed(rig: Rig, vip: int) -> None:
    flow = installed(rig.install(1, vip=vip))
    found = rig.find(1, vip)
    assert found is not None
    assert (found.slot, found.transceiver, found.client) == (flow.slot, TRANSCEIVERS[vip], client_of(1, vip))
    assert found.matches_ufrag(ufrag_of(0))
    assert not found.matches_ufrag(ufrag_of(1))
    assert rig.find(2, vip) is None
    assert rig.forwarder.find(client_of(1, vip), VipIndex(1 - vip), rig.now_ns) is None
    assert rig.hops(flow.family, flow.slot) == [ROUTE_UP, ROUTE_DOWN]


@pytest.mark.parametrize("vip", [0, 1], ids=["ipv4", "ipv6"])
def test_who_was_killed_between_two_writes_is_put_right(rig: Rig, vip: int) -> None:
    flow, stays = installed(rig.install(1, vip=vip)), installed(rig.install(2, vip=vip))
    states = [records["common"]["state"] for records in rig.tables.records[flow.family]]
    states[layout.UPSTREAM][flow.slot] = layout.SLOT_OFF
    rig.forwarder.close()
    rig.open()
    for state in states:
        assert np.flatnonzero(state).tolist() == [stays.slot]
    assert rig.tables.linked(flow.family).tolist() == [stays.slot]


def test_a_stale_entry_leads_nowhere(rig: Rig) -> None:
    """It may be left by a worker that was killed between the two writes."""
    flow = installed(rig.install(1))
    rig.tables.set_slot_state(V4, flow.slot, layout.SLOT_OFF)
    assert rig.find(1) is None
    other = FlowRecord(
        flow.slot,
        Endpoint("203.0.113.200", 5),
        VIPS[0].id,
        TRANSCEIVERS[0],
        TransceiverId(1),
        ROUTE_DOWN,
    )
    rig.tables.write_slot(other)
    assert rig.find(1) is None, "the record is another client's"


def test_an_end_that_was_cut_off_is_finished_by_the_successor(rig: Rig) -> None:
    for vip in (0, 1):
        flow = installed(rig.install(1, vip=vip))
        rig.tables.set_slot_state(flow.family, flow.slot, layout.SLOT_OFF)
        assert rig.tables.linked(flow.family).tolist() == [flow.slot]
    stays = installed(rig.install(2))
    rig.forwarder.close()
    rig.open()
    assert rig.tables.linked(V4).tolist() == [stays.slot]
    assert rig.tables.linked(V6).size == 0


def test_a_slot_rests_before_it_is_reused(pin_dir: Path, rig: Rig) -> None:
    few = Rig(pin_dir, ports=(21000, 21001))
    try:
        first, second = installed(few.install(1)), installed(few.install(2))
        few.remove(first)
        assert few.install(3) is RelayReason.NO_NAT_PORT
        few.now_ns += REST_NS
        again = installed(few.install(3))
        assert again.slot == first.slot != second.slot
    finally:
        few.close()


def test_a_restart_does_not_shorten_the_rest(pin_dir: Path, rig: Rig) -> None:
    few = Rig(pin_dir, ports=(21010, 21010))
    few.remove(installed(few.install(1)))
    few.close()
    after = Rig(pin_dir, ports=(21010, 21010))
    try:
        assert after.install(2) is RelayReason.NO_NAT_PORT
        after.now_ns += REST_NS
        installed(after.install(2))
    finally:
        after.close()


def test_the_bounds(rig: Rig) -> None:
    for number in range(MAX_FLOWS):
        installed(rig.install(number, session=number))
    assert rig.install(50, session=50) is RelayReason.TABLE_FULL
    assert rig.counters.get("installs", "table_full") == 1
    assert len(rig.forwarder) == rig.counters.get("flows") == MAX_FLOWS


def test_a_token_has_so_many_addresses_and_no_more(pin_dir: Path, rig: Rig) -> None:
    assert MAX_ADDRESSES_PER_TOKEN > MAX_FLOWS  # so the two families together have to do
    outcomes = [rig.store.families[V4].slots.addresses, rig.store.families[V6].slots.addresses]
    installed(rig.install(1, session=1))
    outcomes[0][ufrag_mark(ufrag_of(1))] = MAX_ADDRESSES_PER_TOKEN
    assert rig.install(2, session=1) is RelayReason.TOO_MANY_ADDRESSES
    installed(rig.install(2, session=2))


def test_a_full_map_gives_the_slot_back(rig: Rig) -> None:
    """Entries that are not ours, so that there is no room before the worker's share is in use."""
    buckets = rig.tables.buckets[V4]
    buckets[:] = np.where(buckets == 0, 9, buckets)
    assert rig.install(1) is RelayReason.TABLE_FULL
    assert len(rig.forwarder) == 0
    assert not rig.tables.live(V4).size


def test_without_a_route_there_is_no_flow(rig: Rig) -> None:
    rig.forwarder.hops.learn_routes(routes_message({V4: [(0, NOWHERE)], V6: [(0, NOWHERE)]}))
    assert rig.install(1) is RelayReason.UNREACHABLE


def test_hosts_on_a_link_are_asked_for_once_and_filled_in(rig: Rig) -> None:
    rig.forwarder.hops.learn_routes(routes_message({V4: [(0, ON_LINK)], V6: [(0, ROUTE_UP)]}))
    flows = [installed(rig.install(number)) for number in (1, 2)]
    assert rig.asked == ["127.0.0.1", "203.0.113.2", "203.0.113.3"]
    assert rig.hops(V4, flows[0].slot) == [0, 0]
    known = {"127.0.0.1": HOST_UP, "203.0.113.2": HOST_DOWN, "203.0.113.3": OTHER_HOST_DOWN}
    for message in hosts_messages(known):
        rig.forwarder.hops.learn_hosts(message)
    assert [rig.hops(V4, flow.slot) for flow in flows] == [[HOST_UP, HOST_DOWN], [HOST_UP, OTHER_HOST_DOWN]]
    installed(rig.install(1, session=1))
    assert len(rig.asked) == 3


@pytest.mark.parametrize("answers", [True, False], ids=["the neighbour answers", "the relay ends"])
def test_what_waits_for_a_neighbour_is_counted_when_it_is_sent_or_dropped(rig: Rig, answers: bool) -> None:
    """Once, like every datagram."""

    async def run() -> list[int]:
        rig.forwarder.attach(asyncio.get_running_loop())
        flow = installed(rig.install(1))
        check = memoryview(bytes(100))
        assert [rig.forwarder.forward(flow, check, rig.now_ns) for _ in range(2)] == [False, False]
        assert rig.outcomes() == [0, 0, 0]
        if answers:
            rig.tables.set_nexthop(HOST_UP, Adjacency(bytes(6), bytes(6), 1500, EgressId(0)))
            for message in hosts_messages({"127.0.0.1": HOST_UP, "203.0.113.2": HOST_UP}):
                rig.forwarder.hops.learn_hosts(message)
            await asyncio.to_thread(eventually, lambda: rig.outcomes() != [0, 0, 0], "it is sent")
        rig.forwarder.close()
        return rig.outcomes()

    rig.forwarder.hops.learn_routes(routes_message({V4: [(0, ON_LINK)], V6: [(0, ROUTE_UP)]}))
    try:
        outcomes = asyncio.run(asyncio.wait_for(run(), PATIENCE_S))
        assert outcomes == ([2, 0, 0] if answers else [0, 2, 2])
        outcome = "forwarded" if answers else "failed"
        assert rig.counters.get("bytes", Direction.UPSTREAM, outcome) == 200
    finally:
        rig.open()


def test_a_transceiver_that_was_out_of_reach_is_led_to_when_its_next_flow_begins(rig: Rig) -> None:
    """Nobody waits for it any more by the time when its next hop is known."""
    rig.forwarder.hops.learn_routes(routes_message({V4: [(0, ON_LINK)], V6: [(0, ROUTE_UP)]}))
    flow = installed(rig.install(1))
    known = {"127.0.0.1": NOWHERE, "203.0.113.2": HOST_DOWN, "203.0.113.3": OTHER_HOST_DOWN}
    for message in hosts_messages(known):
        rig.forwarder.hops.learn_hosts(message)
    assert rig.install(2) is RelayReason.UNREACHABLE
    for message in hosts_messages({"127.0.0.1": HOST_UP}):
        rig.forwarder.hops.learn_hosts(message)
    installed(rig.install(2))
    assert rig.hops(V4, flow.slot) == [HOST_UP, HOST_DOWN]


def test_without_a_number_for_its_transceiver_there_is_no_flow(rig: Rig) -> None:
    numbers = rig.store.families[V4].transceivers
    while numbers.take(TRANSCEIVERS[0], ROUTE_UP, rig.now_ns):
        pass
    numbers._numbers.clear()
    assert rig.install(1) is RelayReason.TABLE_FULL
    assert len(rig.forwarder) == 0
    assert not rig.tables.live(V4).size


def test_new_routes_lead_live_flows(rig: Rig) -> None:
    flows = [installed(rig.install(1)), installed(rig.install(1, vip=1))]
    rig.forwarder.hops.learn_routes(routes_message({V4: [(0, NextHopId(21))], V6: [(0, NextHopId(22))]}))
    assert [rig.hops(flow.family, flow.slot) for flow in flows] == [[21, 21], [22, 22]]


def test_a_sweep_ends_silent_clients_only(rig: Rig) -> None:
    silent, heard = installed(rig.install(1)), installed(rig.install(2))
    seen = [each["common"]["seen"] for each in rig.tables.records[V4]]
    rig.now_ns += IDLE_NS + S
    seen[layout.UPSTREAM][heard.slot] = rig.clock.stamp(rig.now_ns - 20 * S)
    seen[layout.DOWNSTREAM][silent.slot] = rig.clock.stamp(rig.now_ns)
    rig.sweep_all()
    assert rig.find(1) is None
    assert rig.find(2) is not None
    assert rig.counters.get("removals", "idle") == 1
    assert rig.tables.linked(V4).tolist() == [heard.slot]


@pytest.mark.parametrize(("later_ns", "left"), [(0, [7, 4, 1, 0]), (IDLE_NS // 4, [7, 0])])
def test_a_sweep_stops_after_a_few_and_goes_on_from_there(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, later_ns: int, left: list[int]
) -> None:
    """With more at once when it is late."""
    monkeypatch.setattr(sweep, "REMOVALS_AT_ONCE", 3)
    monkeypatch.setattr(sweep, "SLOTS_AT_ONCE", 4)
    for number in range(10):
        installed(rig.install(number))
    rig.now_ns += IDLE_NS + S
    found, rests = [], []
    while len(rig.forwarder):
        rests.append(rig.forwarder.sweep(rig.now_ns))
        found.append(len(rig.forwarder))
        rig.now_ns += later_ns
    assert found == left
    assert rests == [xdp.REST_AFTER_REMOVALS_S] * (len(left) - 1) + [TICK_S]


@pytest.mark.parametrize("ahead", [-3, 0, 3])
def test_stamps_wrap(rig: Rig, ahead: int) -> None:
    seen = np.array([each & 0xFFFF for each in (ahead - 65_000, ahead - 10, ahead, ahead + 1)], np.uint16)
    rig.clock._ahead = (ahead << rig.clock._shift) - rig.now_ns // rig.clock._tick_ns
    assert rig.clock.idle(seen, rig.now_ns).tolist() == [65_000, 10, 0, -1]
    assert rig.clock.time_of(int(seen[1]), rig.now_ns) == rig.now_ns - 10 * rig.clock.unit_ns
    assert rig.clock.time_of(int(seen[3]), rig.now_ns) == rig.now_ns, "a stamp cannot be of the future"


def test_a_stamp_lasts_longer_than_any_idle_timeout(rig: Rig) -> None:
    longest_ns = 3600 * S
    assert rig.clock.unit_ns << 16 > longest_ns + longest_ns // ROUNDS_PER_TIMEOUT
    assert rig.clock.unit_ns < S // 8
    seen = np.array([rig.clock.stamp(rig.now_ns)], np.uint16)
    later_ns = rig.now_ns + longest_ns
    assert rig.clock.idle(seen, later_ns - rig.clock.unit_ns) <= rig.clock.units(longest_ns)
    assert rig.clock.idle(seen, later_ns + 2 * rig.clock.unit_ns) > rig.clock.units(longest_ns)


def test_a_successor_adopts_everything(pin_dir: Path, rig: Rig) -> None:
    flows = [installed(rig.install(n, session=n % 2)) for n in range(5)]
    installed(rig.install(1, vip=1))
    successor = Rig(pin_dir)
    try:
        assert len(successor.forwarder) == 6
        assert successor.counters.get("installs", "adopted") == 6
        assert [successor.find(n) is not None for n in range(5)] == [True] * 5
        marks = successor.store.families[V4].slots.addresses
        assert {m: marks[m] for m in marks} == {ufrag_mark(ufrag_of(0)): 3, ufrag_mark(ufrag_of(1)): 2}
        fresh = installed(successor.install(9))
        assert fresh.slot not in {flow.slot for flow in flows}
    finally:
        successor.close()


def test_another_workers_flow_can_be_found_and_ended(pin_dir: Path, rig: Rig) -> None:
    owner, other = Rig(pin_dir, (0, 2)), Rig(pin_dir, (1, 2))
    try:
        installed(owner.install(1))
        found = other.find(1)
        assert found is not None
        assert other.forwarder.forward(found, memoryview(b"check"), other.now_ns)
        other.remove(found)
        assert owner.find(1) is None
        assert len(owner.forwarder) == 1, "until it looks"
        owner.sweep_all()
        assert len(owner.forwarder) == 0
        assert owner.counters.get("removals", "moved") == 1
        assert other.counters.get("removals", "moved") == 0, "counted once"
    finally:
        owner.close()
        other.close()


def test_an_entry_that_leads_elsewhere_by_now_is_not_removed(pin_dir: Path, rig: Rig) -> None:
    owner, other = Rig(pin_dir, (0, 2)), Rig(pin_dir, (1, 2))
    try:
        old = installed(owner.install(1))
        new = installed(other.install(1, session=1))
        owner.remove(old)
        found = other.find(1)
        assert found is not None
        assert found.slot == new.slot
    finally:
        owner.close()
        other.close()


def test_a_slot_in_the_clients_group_is_preferred_and_the_longest_rested_one(rig: Rig) -> None:
    slots = Slots(
        rig.tables.records[V4], share_ports([BackboneIndex(0)], 20000, 20063, 1, 2), frozenset(), rig.clock
    )
    slots.adopt(rig.tables.marks[V4], 0)
    assert slots.numbers.tolist() == list(range(20001, 20064, 2))
    groups, elsewhere = (NatSlot(20032), NatSlot(20016)), NatSlot(40000)
    in_group = [slots.take(groups, 0, now_ns) for now_ns in range(16)]
    assert in_group == [*range(20033, 20048, 2), *range(20017, 20032, 2)]
    assert slots.take(groups, 0, 16) == 20001, "anywhere, once both are full"
    assert slots.take([elsewhere], 0, 16) == 20003, "and who has a group among others' ports only"
    for released_at, slot in enumerate(map(NatSlot, (20035, 20019, 20033)), 20):
        position = slots.position_of(slot)
        assert position is not None
        slots.release(position, released_at)
    assert slots.take(groups, 0, 19) == 20005, "none has rested yet"
    assert [slots.take(groups, 0, 30) for _ in range(3)] == [20035, 20033, 20019]
    assert slots.live == 19
    assert slots.position_of(NatSlot(20000)) is slots.position_of(elsewhere) is None


def test_workers_meet_at_one_group(pin_dir: Path, rig: Rig) -> None:
    """Each has slots of its own there."""
    first, last = layout.GROUP_FIRST, layout.GROUP_FIRST + layout.GROUP_SLOTS - 1
    rig.wipe(groups=1)
    workers = [Rig(pin_dir, (index, 4), (first, last)) for index in range(4)]
    try:
        taken = [installed(worker.install(n)).slot for n, worker in enumerate(workers * 3)]
        assert len(set(taken)) == 12
        assert [(slot - first) % 4 for slot in taken] == [0, 1, 2, 3] * 3
        assert np.count_nonzero(rig.tables.groups[V4][0]) == 12
        assert not rig.tables.buckets[V4].any()
        for n in range(12):
            found = workers[n % 2].find(n)
            assert found is not None
            assert found.slot == taken[n]
    finally:
        for worker in workers:
            worker.close()


def test_a_vip_port_is_no_nat_port(rig: Rig) -> None:
    ports = NatRange(BackboneIndex(0), 3477, 3479)
    slots = Slots(rig.tables.records[V4], [ports], frozenset({NatSlot(3478)}), rig.clock)
    assert slots.numbers.tolist() == [3477, 3479]


@pytest.mark.parametrize(
    ("modules", "absent"),
    [
        ("edge.host.service, edge.ops.flow_query, edge.ops.counter_query", "bcc"),
        ("edge.host.worker", "bcc"),
        ("edge.host.worker", "pyroute2"),
    ],
)
def test_what_the_relay_does_not_import(modules: str, absent: str) -> None:
    code = f"import sys, {modules}; sys.exit({absent!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=False).returncode == 0


class Model(RuleBasedStateMachine):
    """Any order of events, against a dict: every client is led to its own transceiver's record."""

    pin_dir: Path
    groups: int
    ports: tuple[int, int]

    @initialize()
    def begin(self) -> None:
        first = Rig(self.pin_dir, ports=self.ports)
        first.wipe(self.groups)
        first.close()
        self.rig = Rig(self.pin_dir, ports=self.ports)
        self.flows: dict[tuple[int, int], int] = {}
        self.heard: dict[tuple[int, int], int] = {}

    @rule(number=st.integers(0, 9), vip=st.integers(0, 1), session=st.integers(0, 3))
    def install(self, number: int, vip: int, session: int) -> None:
        key = (number, vip)
        if key in self.flows:
            return
        outcome = self.rig.install(number, session, vip)
        if isinstance(outcome, XdpFlow):
            self.flows[key], self.heard[key] = session, self.rig.now_ns
        else:
            assert outcome is RelayReason.TABLE_FULL
            assert len(self.flows) == MAX_FLOWS

    @rule(number=st.integers(0, 9), vip=st.integers(0, 1), session=st.integers(0, 3))
    def rebind_ufrag(self, number: int, vip: int, session: int) -> None:
        flow = self.rig.find(number, vip)
        if flow is not None:
            self.rig.forwarder.rebind_ufrag(flow, ufrag_of(session))
            self.flows[number, vip] = session

    @rule(number=st.integers(0, 9), vip=st.integers(0, 1))
    def remove(self, number: int, vip: int) -> None:
        flow = self.rig.find(number, vip)
        if flow is not None:
            self.rig.remove(flow)
            del self.flows[number, vip]

    @rule(number=st.integers(0, 9), vip=st.integers(0, 1))
    def hear(self, number: int, vip: int) -> None:
        flow = self.rig.find(number, vip)
        if flow is not None:
            assert self.rig.forwarder.forward(flow, memoryview(b"x"), self.rig.now_ns)
            self.heard[number, vip] = self.rig.now_ns

    @rule(seconds=st.sampled_from([1, 10, 31, 62]))
    def sweep(self, seconds: int) -> None:
        self.rig.now_ns += seconds * S
        self.rig.sweep_all()
        gone = {key for key in self.flows if self.rig.now_ns - self.heard[key] > IDLE_NS}
        self.flows = {key: session for key, session in self.flows.items() if key not in gone}

    @rule()
    def restart(self) -> None:
        now_ns = self.rig.now_ns
        self.rig.forwarder.close()
        self.rig.open()
        self.rig.now_ns = now_ns

    @invariant()
    def everyone_is_led_to_their_own(self) -> None:
        if not hasattr(self, "rig"):
            return
        assert len(self.rig.forwarder) == len(self.flows) == self.rig.counters.get("flows")
        counted = self.rig.counters.get("installs", "installed") + self.rig.counters.get(
            "installs", "adopted"
        )
        removed = sum(self.rig.counters.get("removals", cause) for cause in Removal)
        assert counted - removed == len(self.flows)
        slots = []
        for (number, vip), session in self.flows.items():
            flow = self.rig.find(number, vip)
            assert flow is not None
            assert flow.matches_ufrag(ufrag_of(session))
            slots.append((flow.family, flow.slot))
        assert len(set(slots)) == len(slots), "no slot is two flows'"
        for version in IpFamily:
            wanted = sorted(number for family, number in slots if family == version)
            assert wanted == sorted(self.rig.tables.linked(version).tolist())
            for records in self.rig.tables.records[version]:
                assert wanted == np.flatnonzero(records["common"]["state"] == layout.SLOT_LIVE).tolist()

    def teardown(self) -> None:
        if hasattr(self, "rig"):
            self.rig.close()


@pytest.mark.parametrize(
    ("groups", "ports"),
    [
        (0, (20000, 20031)),
        (2, (layout.GROUP_FIRST, layout.GROUP_FIRST + 31)),
        (2, (layout.GROUP_FIRST + 12, layout.GROUP_FIRST + 51)),
    ],
    ids=["elsewhere", "in their group", "some in their group"],
)
def test_any_order_of_events(pin_dir: Path, groups: int, ports: tuple[int, int]) -> None:
    class Here(Model):
        pass

    Here.pin_dir, Here.groups, Here.ports = pin_dir, groups, ports
    run_state_machine_as_test(Here, settings=settings(max_examples=30, stateful_step_count=25, deadline=None))

"""The forwarder over real maps, without interfaces: slots, entries, sweeps, bounds, adoption."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from core.addr import Endpoint, IpFamily
from ebpf import layout, pins
from ebpf.flows import FlowRecord
from ebpf.ids import TransceiverId
from edge.fastpath.flow import XdpFlow
from edge.fastpath.nat_slots import REST_NS
from edge.forwarders.life import SILENCE_NS, UNCONFIRMED_NS
from edge.forwarders.room import LEAST_PER_SOURCE, QUIET_NS
from edge.relay.counters import Removal
from edge.relay.forwarder import MAX_ADDRESSES_PER_TOKEN, Holder, Sockaddr, Stranger, VipIndex
from edge.relay.verdict import RelayReason
from tests.edge.fastpath.rig import (
    IDLE_NS,
    MAX_FLOWS,
    ROUTE_DOWN,
    ROUTE_UP,
    TRANSCEIVERS,
    V4,
    V6,
    VIPS,
    Rig,
    S,
    client_of,
    installed,
    ufrag_of,
)
from tests.edge.kit import REPOSITORY
from tests.suite.fuzzing import times

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes BPF maps")


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


def test_places_tell_whose_they_are_by_the_ufrags_beside_the_records(pin_dir: Path) -> None:
    pins.ensure_ufrags(pin_dir, pins.Sizes())
    pins.ensure_ufrags(pin_dir, pins.Sizes())  # those that are there stay
    first = Rig(pin_dir)
    first.wipe()
    first.close()
    rig = Rig(pin_dir, keeps_ufrags=True)
    try:
        flows = [installed(rig.install(1, session=5, vip=vip)) for vip in (0, 1)]
        places = [place for flow in flows if (place := rig.forwarder.place_of(flow)) is not None]
        assert sorted(places) == rig.forwarder.live_places()
        for vip, place in enumerate(places):
            holder = rig.forwarder.holder(place)
            assert holder == Holder(Endpoint(*client_of(1, vip)[:2]), VipIndex(vip), ufrag_of(5))
        rig.forwarder.rebind_ufrag(flows[0], ufrag_of(6))
        renewed = rig.forwarder.holder(places[0])
        assert renewed is not None
        assert renewed.ufrag == ufrag_of(6)
        rig.forwarder.close()
        rig.open()  # another relay finds the same
        assert sorted(places) == rig.forwarder.live_places()
        assert rig.forwarder.holder(places[0]) == renewed
        rig.tables.marks[V6][flows[1].slot] ^= 1
        assert rig.forwarder.holder(places[1]) is None, "what is beside it is of another flow"
        rig.remove(flows[0])
        assert rig.forwarder.holder(places[0]) is None
    finally:
        rig.wipe()
        rig.close()
        for name in ("ufrags4", "ufrags6"):
            (pin_dir / name).unlink()


def test_without_the_map_of_ufrags_no_place_has_a_holder(rig: Rig) -> None:
    flow = installed(rig.install(1))
    place = rig.forwarder.place_of(flow)
    assert place is not None
    assert rig.forwarder.live_places() == [place]
    assert rig.forwarder.holder(place) is None


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


def test_the_bounds(rig: Rig) -> None:
    strangers = [installed(rig.install(number, session=number)) for number in range(50, 50 + MAX_FLOWS)]
    assert rig.counters.get("unconfirmed") == MAX_FLOWS
    for number in range(MAX_FLOWS):
        rig.install_answered(number, session=number)
    assert rig.counters.get("removals", "evicted") == len(strangers), "nothing had come back to them"
    assert rig.install(50, session=50) is RelayReason.TABLE_FULL
    assert rig.counters.get("installs", "table_full") == 1
    rig.sweep_all()
    assert rig.counters.get("unconfirmed") == 0
    assert len(rig.forwarder) == rig.counters.get("flows") == MAX_FLOWS


def test_a_token_has_so_many_addresses_and_no_more(pin_dir: Path) -> None:
    """Of both families together; strangers do not take the place of who is answered."""
    first = Rig(pin_dir)
    first.wipe()
    first.close()
    rig = Rig(pin_dir, max_flows=2 * MAX_ADDRESSES_PER_TOKEN)
    try:
        for number in range(MAX_ADDRESSES_PER_TOKEN - 1):
            rig.install_answered(number, session=1, vip=number % 2)
        installed(rig.install(40, session=1))
        installed(rig.install(41, session=1, vip=1))
        assert rig.find(40) is None, "it was not confirmed"
        found = rig.find(41, 1)
        assert found is not None
        assert not found.is_confirmed
        rig.answer(found)
        assert rig.install(42, session=1) is RelayReason.TOO_MANY_ADDRESSES
        installed(rig.install(42, session=2))
        rig.now_ns += QUIET_NS + rig.clock.unit_ns
        for number in range(1, MAX_ADDRESSES_PER_TOKEN - 1):
            flow = rig.find(number, number % 2)
            assert flow is not None
            rig.answer(flow)
        installed(rig.install(43, session=1))
        assert rig.find(0) is None, "its transceiver has been silent for longest"
        assert len(rig.forwarder) == MAX_ADDRESSES_PER_TOKEN + 1
    finally:
        rig.wipe()
        rig.close()


@pytest.mark.parametrize("vip", [0, 1], ids=["ipv4", "ipv6"])
def test_one_check_replayed_from_everywhere_leaves_room_and_ports_for_its_owner(
    pin_dir: Path, rig: Rig, vip: int
) -> None:
    many = Rig(pin_dir, ports=(20000, 20200), max_flows=100)
    try:
        media = many.install_answered(0, session=1, vip=vip)
        for number in range(200):
            many.now_ns += S // 10
            many.answer(media)
            many.forwarder.sweep(many.now_ns)
            installed(many.install(1 + number, session=1, vip=vip))
        many.answer(media)
        installed(many.install(240, session=1, vip=vip))
        assert len(many.forwarder) == MAX_ADDRESSES_PER_TOKEN
        assert many.find(0, vip) is not None
        assert many.counters.get("installs", "no_nat_port") == 0
    finally:
        many.close()


@pytest.mark.parametrize("vip", [0, 1], ids=["ipv4", "ipv6"])
def test_a_source_has_so_many_unconfirmed_flows_and_its_own_oldest_goes(
    pin_dir: Path, rig: Rig, vip: int
) -> None:
    many = Rig(pin_dir, ports=(20000, 20200), max_flows=400)
    try:
        stranger = installed(many.install(1, session=9999, vip=vip))
        made = []
        for port in range(1, LEAST_PER_SOURCE + 2):
            of_port = Stranger(VipIndex(vip), _port_of(client_of(0, vip), port))
            made.append(many.forwarder.install(of_port, ufrag_of(port), TRANSCEIVERS[vip], many.now_ns))
        first = made[0]
        assert isinstance(first, XdpFlow)
        is_one_source = vip == 1  # where the stranger is of the same /64
        assert not many.store.families[first.family].is_live(stranger.slot if is_one_source else first.slot)
        assert len(many.forwarder) == LEAST_PER_SOURCE + (not is_one_source)
        many.forwarder.close()
        many.open()
        many.now_ns += UNCONFIRMED_NS + S
        many.sweep_all()
        assert len(many.forwarder) == 0, "a worker that comes anew knows them too"
        assert many.counters.get("removals", "unanswered") == LEAST_PER_SOURCE + (not is_one_source)
    finally:
        many.close()


def _port_of(client: Sockaddr, port: int) -> Sockaddr:
    return (client[0], port) if len(client) == 2 else (client[0], port, 0, 0)


def test_without_a_number_for_its_transceiver_there_is_no_flow(rig: Rig) -> None:
    numbers = rig.store.families[V4].transceivers
    while numbers.take(TRANSCEIVERS[0], ROUTE_UP, rig.now_ns):
        pass
    numbers._numbers.clear()
    assert rig.install(1) is RelayReason.TABLE_FULL
    assert len(rig.forwarder) == 0
    assert not rig.tables.live(V4).size


@pytest.mark.parametrize("ahead", [-3, 0, 3])
def test_stamps_wrap(rig: Rig, ahead: int) -> None:
    seen = np.array([each & 0xFFFF for each in (ahead - 65_000, ahead - 10, ahead, ahead + 1)], np.uint16)
    rig.clock._ahead = (ahead << rig.clock._shift) - rig.now_ns // rig.clock._tick_ns
    assert rig.clock.idle(seen, rig.now_ns).tolist() == [65_000, 10, 0, -1]
    assert rig.clock.time_of(int(seen[1]), rig.now_ns) == rig.now_ns - 10 * rig.clock.unit_ns
    assert rig.clock.time_of(int(seen[3]), rig.now_ns) == rig.now_ns, "a stamp cannot be of the future"


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
        self.answered: dict[tuple[int, int], int] = {}
        self.confirmed: set[tuple[int, int]] = set()

    @rule(number=st.integers(0, 9), vip=st.integers(0, 1), session=st.integers(0, 3))
    def install(self, number: int, vip: int, session: int) -> None:
        key = (number, vip)
        if key in self.flows:
            return
        outcome = self.rig.install(number, session, vip)
        if isinstance(outcome, XdpFlow):
            evicted = [key for key in self.flows if self.rig.find(*key) is None]
            assert len(evicted) == (len(self.flows) == MAX_FLOWS)
            for gone in evicted:
                assert gone not in self.confirmed
                self.forget(gone)
            self.flows[key] = session
            self.heard[key] = self.answered[key] = self.rig.now_ns
        else:
            assert outcome is RelayReason.TABLE_FULL
            assert len(self.flows) == len(self.confirmed) == MAX_FLOWS

    def forget(self, key: tuple[int, int]) -> None:
        del self.flows[key]
        self.confirmed.discard(key)

    @rule(number=st.integers(0, 9), vip=st.integers(0, 1))
    def answer(self, number: int, vip: int) -> None:
        flow = self.rig.find(number, vip)
        if flow is not None:
            self.rig.answer(flow)
            self.answered[number, vip] = self.rig.now_ns
            self.confirmed.add((number, vip))

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
            self.forget((number, vip))

    @rule(number=st.integers(0, 9), vip=st.integers(0, 1))
    def hear(self, number: int, vip: int) -> None:
        flow = self.rig.find(number, vip)
        if flow is not None:
            assert self.rig.forwarder.forward(flow, memoryview(b"x"), self.rig.now_ns)
            self.heard[number, vip] = self.rig.now_ns

    @rule(seconds=st.sampled_from([1, 4, 10, 31, 62]))
    def sweep(self, seconds: int) -> None:
        self.rig.now_ns += seconds * S
        self.rig.sweep_all()
        for key in list(self.flows):
            patience_ns = SILENCE_NS if key in self.confirmed else UNCONFIRMED_NS
            now_ns = self.rig.now_ns
            if now_ns - self.heard[key] > IDLE_NS or now_ns - self.answered[key] > patience_ns:
                self.forget(key)

    @rule()
    def restart(self) -> None:
        now_ns = self.rig.now_ns
        self.rig.forwarder.close()
        self.rig.open()
        self.rig.now_ns = now_ns
        for key in self.flows.keys() - self.confirmed:  # it cannot know since when they wait
            self.answered[key] = self.rig.store.opened_ns

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
            assert flow.is_confirmed == ((number, vip) in self.confirmed)
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


@pytest.mark.fuzz
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
    run_state_machine_as_test(
        Here, settings=settings(max_examples=times(30), stateful_step_count=25, deadline=None)
    )


def test_the_end_of_a_drain_ends_flows_that_were_heard_this_moment_and_no_others(rig: Rig) -> None:
    for number in range(MAX_FLOWS):
        installed(rig.install(number, session=number))
    rig.sweep_all()
    assert len(rig.forwarder) == MAX_FLOWS
    rig.forwarder.is_expelling = True
    while len(rig.forwarder):
        rig.forwarder.sweep(rig.now_ns)
    assert not rig.tables.live(V4).size
    assert rig.counters.get("removals", "drained") == MAX_FLOWS
    rig.forwarder.is_expelling = False
    rig.now_ns += REST_NS + S
    installed(rig.install(1))
    rig.sweep_all()
    assert len(rig.forwarder) == 1
    assert rig.counters.get("removals", "idle") == 0

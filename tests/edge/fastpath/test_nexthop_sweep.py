"""Flows over the legs of a route, over real maps: where each goes, and what moves when a leg dies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.addr import Endpoint, IpFamily, pack_address
from core.service.supervisor import Message
from ebpf import layout
from ebpf.ids import NOWHERE, NextHopId, VipId
from edge.fastpath.flow import XdpFlow
from edge.fastpath.transceiver_ids import RECLAIM_NS
from edge.nexthops.messages import (
    ON_LINK,
    RouteTables,
    SpreadLeg,
    hosts_messages,
    routes_message,
    spread_number,
)
from edge.nexthops.spread import Spread, flow_key
from edge.relay.forwarder import Sockaddr, Stranger, VipIndex
from tests.edge.fastpath.rig import V4, V6, VIPS, Rig, ufrag_of
from tests.edge.nexthops.kit import one_view

A, B, C, OTHER = NextHopId(31), NextHopId(32), NextHopId(33), NextHopId(40)
LEGS = {hop: SpreadLeg(hop, weight, seed) for hop, weight, seed in ((A, 1, 1111), (B, 1, 2222), (C, 2, 3333))}
FLOWS = 200
TRANSCEIVERS = 5
ALL_PORTS = (4096, 65535)
VIP_OF = {V4: 0, V6: 1}


def over(*hops: NextHopId) -> Message:
    """Everything goes by these legs."""
    if len(hops) == 1:
        return one_view({V4: [(0, hops[0])], V6: [(0, hops[0])]})
    rows = [(0, spread_number(0))]
    return one_view({V4: rows, V6: rows}, [[LEGS[hop] for hop in hops]])


class Crowd:
    """Flows of many clients to a few transceivers."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.flows: dict[tuple[IpFamily, int], XdpFlow] = {}
        self.began = 0

    def learn(self, message: Message) -> None:
        self.rig.forwarder.hops.learn_routes(message, self.rig.now_ns)

    def client(self, family: IpFamily, number: int) -> Sockaddr:
        if family is V4:
            return f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", 5000 + number % 3
        return f"2001:db8:c::{number:x}", 5000 + number % 3, 0, 0

    def transceiver(self, family: IpFamily, number: int) -> Endpoint:
        host = "127.0.0.1" if family is V4 else "::1"
        return Endpoint(host, 40001 + number % TRANSCEIVERS)

    def begin(self, family: IpFamily, count: int = 1) -> None:
        for _ in range(count):
            number = self.began
            self.began += 1
            flow = self.rig.forwarder.install(
                Stranger(VipIndex(VIP_OF[family]), self.client(family, number)), ufrag_of(number),
                self.transceiver(family, number), self.rig.now_ns,
            )  # fmt: skip
            assert isinstance(flow, XdpFlow), flow
            self.rig.answer(flow)
            self.flows[family, number] = flow

    def end(self, which: int) -> None:
        key = list(self.flows)[which % len(self.flows)]
        self.rig.remove(self.flows.pop(key))

    def hops(self, family: IpFamily) -> dict[int, list[int]]:
        """(upstream, downstream) by number of the client."""
        return {
            number: self.rig.hops(family, flow.slot)
            for (of, number), flow in self.flows.items()
            if of is family
        }

    def expected(self, family: IpFamily, hops: Sequence[NextHopId]) -> dict[int, list[int]]:
        """By the definition of the spread."""
        spread = Spread([LEGS[hop] for hop in hops])
        found = {}
        for of, number in self.flows:
            if of is family:
                host, port = self.client(family, number)[:2]
                key = flow_key(pack_address(host), port, VIPS[VIP_OF[family]].id)
                found[number] = [int(spread.choose(key))] * 2
        return found

    def numbers(self, family: IpFamily) -> list[int]:
        """Of their transceivers, as records have them."""
        records = self.rig.tables.records[family][layout.UPSTREAM]["common"]["transceiver"]
        return [int(records[flow.slot]) for (of, _), flow in self.flows.items() if of is family]

    def assert_led_right(self) -> None:
        """Each number still stands for the flow's own transceiver."""
        for (family, number), flow in self.flows.items():
            record = self.rig.tables.records[family][layout.UPSTREAM]["common"]["transceiver"][flow.slot]
            row = self.rig.tables.transceivers[family][record]
            to = self.transceiver(family, number)
            assert row["addr"].tobytes() == pack_address(to.host)
            assert int(row["common"]["port"].byteswap()) == to.port


@pytest.fixture
def crowd(pin_dir: Path) -> Iterator[Crowd]:
    made = opened(pin_dir)
    yield made
    made.rig.close()


def opened(pin_dir: Path, share: tuple[int, int] = (0, 1)) -> Crowd:
    """With no flows."""
    first = Rig(pin_dir)
    first.wipe(layout.GROUPS)
    first.close()
    return Crowd(Rig(pin_dir, share, ALL_PORTS, max_flows=1000))


@pytest.mark.parametrize("family", [*IpFamily])
def test_new_flows_are_spread_and_both_ways_alike(crowd: Crowd, family: IpFamily) -> None:
    crowd.learn(over(A, B, C))
    crowd.begin(family, FLOWS)
    hops = crowd.hops(family)
    assert hops == crowd.expected(family, (A, B, C))
    counts = np.bincount([up for up, _ in hops.values()])[A : C + 1]
    assert (counts > FLOWS // 8).all(), counts
    assert counts[2] > max(counts[:2]), "it weighs twice as much"
    assert len(set(crowd.numbers(family))) == 3 * TRANSCEIVERS, "a number for each leg of each"


@pytest.mark.parametrize("family", [*IpFamily])
@pytest.mark.parametrize("told", ["a leg is gone", "one way is left"])
def test_when_a_leg_dies_its_flows_move_and_no_others(crowd: Crowd, family: IpFamily, told: str) -> None:
    """Upstream not a record is written to: the numbers of the dead leg are lent to the other."""
    crowd.learn(over(A, B))
    crowd.begin(family, FLOWS)
    before, numbers = crowd.hops(family), crowd.numbers(family)
    left = over(B) if told == "one way is left" else one_view(
        {V4: [(0, spread_number(0))], V6: [(0, spread_number(0))]}, [[LEGS[B]]]
    )  # fmt: skip
    crowd.learn(left)
    assert crowd.hops(family) == {number: [B, B] for number in before}
    assert crowd.numbers(family) == numbers
    crowd.begin(family, 20)
    crowd.assert_led_right()
    crowd.learn(over(A, B))
    assert crowd.hops(family) == crowd.expected(family, (A, B)), "all of them are where they would begin"
    assert {number: crowd.hops(family)[number] for number in before} == before


def test_of_three_legs_the_dead_ones_flows_go_to_both_others(crowd: Crowd) -> None:
    crowd.learn(over(A, B, C))
    crowd.begin(V4, FLOWS)
    before = crowd.hops(V4)
    crowd.learn(over(A, C))
    after = crowd.hops(V4)
    assert after == crowd.expected(V4, (A, C))
    moved = {number for number in before if before[number] != after[number]}
    assert moved == {number for number, hops in before.items() if hops == [B, B]}
    assert {after[number][0] for number in moved} == {A, C}
    crowd.learn(over(A, B, C))
    assert crowd.hops(V4) == before
    crowd.assert_led_right()


def test_a_leg_that_flaps_costs_no_numbers(crowd: Crowd) -> None:
    crowd.learn(over(A, B, C))
    crowd.begin(V4, FLOWS)
    held = crowd.rig.store.families[V4].transceivers.held()
    for _ in range(30):
        for hops in ((A, C), (C,), (B, C), (A, B, C)):
            crowd.learn(over(*hops))
            assert crowd.hops(V4) == crowd.expected(V4, hops)
            assert len(held) <= 3 * TRANSCEIVERS


def test_without_a_number_a_flow_stays_on_a_leg_that_is_there(pin_dir: Path) -> None:
    """One of so many workers that it has three or four numbers, which one transceiver's legs take."""
    crowd = opened(pin_dir, (0, 20_000))
    crowd.learn(over(A))
    for number in range(0, 4 * TRANSCEIVERS, TRANSCEIVERS):
        crowd.began = number
        crowd.begin(V4)
    transceivers = crowd.rig.store.families[V4].transceivers
    while transceivers.take(Endpoint("127.0.0.9", 1), A, crowd.rig.now_ns) is not None:
        pass
    crowd.learn(over(B, C))
    hops = crowd.hops(V4)
    assert {up for up, _ in hops.values()} <= {B, C}
    assert [down for _, down in hops.values()] == [down for _, down in crowd.expected(V4, (B, C)).values()]
    crowd.assert_led_right()
    crowd.rig.close()


def test_a_successor_leads_them_as_before(crowd: Crowd, pin_dir: Path) -> None:
    """Where there are more workers than before, so that flows and numbers have changed hands."""
    crowd.learn(over(A, B))
    crowd.begin(V4, FLOWS)
    before = crowd.hops(V4)
    for index in range(2):
        rig = Rig(pin_dir, (index, 2), ALL_PORTS, max_flows=1000)  # which begins with routes of its own
        others = {number for number in crowd.numbers(V4) if (number - 1) % 2 != index}
        assert others, "flows have numbers of the other worker's share"
        rig.forwarder.hops.learn_routes(over(A, B), rig.now_ns)
        rig.close()
    assert crowd.hops(V4) == before
    crowd.assert_led_right()


def test_each_vip_has_its_own_view(crowd: Crowd) -> None:
    """As with two providers, each with a VIP's prefix: its packets go by that one, upstream by neither."""
    views = {V4: [[(0, A)], [(0, B)], [(0, C)]], V6: [[(0, B)], [(0, A)]]}
    vips = {VIPS[0].id: 1, VIPS[1].id: 1, VipId(99): 0}
    crowd.learn(routes_message(RouteTables(views, (), {V4: 2, V6: 0}, vips)))
    crowd.begin(V4, 5)
    crowd.begin(V6, 5)
    assert list(crowd.hops(V4).values()) == [[C, B]] * 5
    assert list(crowd.hops(V6).values()) == [[B, A]] * 5
    crowd.learn(routes_message(RouteTables(views, (), {V4: 1, V6: 1}, dict.fromkeys(vips, 0))))
    assert list(crowd.hops(V4).values()) == [[B, A]] * 5
    assert list(crowd.hops(V6).values()) == [[A, B]] * 5


def test_from_a_link_to_legs_and_back(crowd: Crowd) -> None:
    """A transceiver that was found on a link, and one that is behind two routers."""
    crowd.learn(one_view({V4: [(0, ON_LINK)], V6: [(0, A)]}))
    crowd.begin(V4, 3)
    hosts = {"127.0.0.1": OTHER, **{f"10.0.0.{n}": NextHopId(50 + n) for n in range(3)}}
    for message in hosts_messages(hosts):
        crowd.rig.forwarder.hops.learn_hosts(message, crowd.rig.now_ns)
    found = crowd.hops(V4)
    assert list(found.values()) == [[OTHER, 50], [OTHER, 51], [OTHER, 52]]
    crowd.learn(over(A, B))
    assert crowd.hops(V4) == crowd.expected(V4, (A, B))
    crowd.learn(one_view({V4: [(0, ON_LINK)], V6: [(0, A)]}))
    assert crowd.hops(V4) == found
    crowd.learn(over(NOWHERE))
    assert list(crowd.hops(V4).values()) == [[NOWHERE, NOWHERE]] * 3
    crowd.learn(over(A, B))
    assert crowd.hops(V4) == crowd.expected(V4, (A, B))


def test_those_that_led_nowhere_yet_are_led_when_there_are_legs(crowd: Crowd) -> None:
    """A transceiver that a link was searched for in vain, before the routes came."""
    crowd.learn(one_view({V4: [(0, ON_LINK)], V6: [(0, A)]}))
    crowd.begin(V4, 3 * TRANSCEIVERS)
    assert list(crowd.hops(V4).values()) == [[NOWHERE, NOWHERE]] * 3 * TRANSCEIVERS
    for _ in range(2):
        crowd.learn(over(A, B))
        assert crowd.hops(V4) == crowd.expected(V4, (A, B))
        crowd.begin(V4, TRANSCEIVERS)
        assert crowd.hops(V4) == crowd.expected(V4, (A, B))
    crowd.assert_led_right()


_sets = st.lists(st.sampled_from([A, B, C]), min_size=1, max_size=3, unique=True)
_steps = st.one_of(
    st.tuples(st.just("routes"), _sets),
    st.tuples(st.just("begin"), st.sampled_from([*IpFamily])),
    st.tuples(st.just("end"), st.integers(0, 99)),
    st.tuples(st.just("wait"), st.just(0)),
    st.tuples(st.just("restart"), st.just(0)),
)


@settings(max_examples=40, deadline=None)
@given(st.lists(_steps, max_size=30))
def test_whatever_happens_each_flow_has_its_leg(pin_dir: Path, steps: list[tuple[str, object]]) -> None:
    crowd = opened(pin_dir)
    hops: list[NextHopId] = [A]
    crowd.learn(over(A))
    for step, what in steps:
        if step == "routes":
            assert isinstance(what, list)
            hops = sorted(what)
            crowd.learn(over(*hops))
        elif step == "begin":
            assert isinstance(what, IpFamily)
            crowd.begin(what)
        elif step == "end" and crowd.flows:
            assert isinstance(what, int)
            crowd.end(what)
        elif step == "wait":
            crowd.rig.now_ns += RECLAIM_NS
        elif step == "restart":
            crowd.rig.close()
            crowd.rig = Rig(pin_dir, (0, 1), ALL_PORTS, max_flows=1000)
            crowd.learn(over(*hops))
        for family in IpFamily:
            assert crowd.hops(family) == crowd.expected(family, hops)
        crowd.assert_led_right()
    crowd.rig.close()

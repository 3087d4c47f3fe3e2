"""core.scale.fleet: loads by hand, hosts, and what must hold of every plan."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.scale.assumptions import Layout, Plan, Shard
from core.scale.fleet import (
    PORT_REST_S,
    RENEWED_AFTER,
    Fleet,
    Resource,
    bits_per_s,
    flow_begins_per_s,
    flows,
    packets_per_s,
    records,
    renewals_per_s,
    size,
)
from edge.fastpath.nat_slots import REST_NS
from edge.recall.leases import Leases
from edge.recall.recall import WRITE_TICK_S, WRITTEN_AT_ONCE
from tests.core.scale.kit import ROUND, changed, plans
from transceiver.host.pop_watch import PAUSE_S

S = 1_000_000_000


def loads(fleet: Fleet) -> dict[tuple[str, str], float]:
    return {(tier.name, each.name): each.load for tier in fleet.tiers for each in tier.resources}


def test_loads_by_hand() -> None:
    assert flows(ROUND) == 10_000 * 2 * (120 + 30) == 3_000_000
    assert flow_begins_per_s(ROUND) == 10_000 * 2 * 2
    assert packets_per_s(ROUND) == 1_200_000 * 52 * 2 == 124_800_000
    assert bits_per_s(ROUND) == 124_800_000 * 168 * 8
    assert renewals_per_s(ROUND) == 3_000_000 / 120
    assert records(ROUND) == 3_000_000 + 20_000 * 180
    assert loads(size(ROUND)) == pytest.approx({
        ("PoP host", "cores"): 124.8 + 4 + 1.3,
        ("PoP host", "relay workers"): 4 + (40_000 + 25_000) * 20e-6,
        ("PoP host", "network, each way"): 167.7312,
        ("PoP host", "flows"): 3_000_000,
        ("PoP host", "NAT ports"): 3_000_000 + 40_000 * 30,
        ("PoP host", "first packets, budget"): 40_000,
        ("PoP host", "memory"): 3_000_000 * 300 / 2**30,
        ("transceiver host", "cores"): 12_000 + 20_000 * 0.005,
        ("transceiver host", "sessions"): 1_200_000,
        ("transceiver host", "signaling"): 20_000,
        ("transceiver host", "network, each way"): 167.7312 / 2,
        ("transceiver host", "memory for calls"): 1_200_000 / 2048,
        ("store server", "commands"): 65_000,
        ("store server", "memory"): 6_600_000 * 250 / 2**30,
    })  # fmt: skip


def test_hosts_by_hand() -> None:
    fleet = size(ROUND)
    assert fleet.pop.needed == 27  # 130.1 cores, of which a host has 10 and is filled by half
    assert fleet.pop_hosts == 4  # eight PoPs must do, without a third of twelve
    assert (fleet.pop.hosts, fleet.pop_hosts_left) == (48, 32)
    assert fleet.pop.tightest.name == "cores"
    assert fleet.pop.filled() == pytest.approx(130.1 / 480)
    assert (fleet.transceiver.needed, fleet.transceiver.hosts) == (1513, 1515)
    assert (fleet.store.needed, fleet.store.hosts) == (2, 3)


def test_every_transceiver_host_asks_every_pop() -> None:
    """1515 hosts every two seconds, of each of twelve PoPs: a quarter of what one answers. More PoP hosts do
    not help.
    """
    for hosts in (0, 50):
        status = size(changed(layout={"pop_hosts": hosts})).status
        assert (status.hosts, status.tightest.load) == (12, 1515 * 12 / 2)
        assert status.filled() == pytest.approx(0.25)
    assert size(changed(layout={"status_s": 0.25})).status.filled() == pytest.approx(2.0)


def test_hosts_ask_as_often_as_the_model_says() -> None:
    assert Layout().status_s == PAUSE_S


def test_as_many_hosts_as_there_are() -> None:
    fleet = size(changed(layout={"pop_hosts": 1}))
    assert (fleet.pop.needed, fleet.pop.hosts, fleet.pop_hosts_left) == (27, 12, 8)
    assert fleet.pop.filled() > 1


def test_a_pop_has_two_hosts_at_least() -> None:
    assert size(changed(traffic={"calls": 1})).pop_hosts == 2


def test_commands_are_those_of_the_leases() -> None:
    """By the workers' own plan of when to write, over ten minutes of their time."""
    lease_s, count = 180, 20_000
    leases = Leases(lease_s * S)
    leases.change_all(range(count))
    now_ns, written, since_ns = 0, 0, 0
    while not since_ns or now_ns < since_ns + 600 * S:
        for place in leases.take(now_ns, WRITTEN_AT_ONCE):
            leases.settle(place, now_ns, is_live=True)
            written += 1
        now_ns += int(WRITE_TICK_S * S)
        if written == count and not since_ns:  # all of them for the first time
            written, since_ns = 0, now_ns
    assert written / 600 == pytest.approx(count / (lease_s * RENEWED_AFTER), rel=0.1)
    shorter = replace(ROUND, store=Shard(lease_s=60))
    assert renewals_per_s(shorter) == 3_000_000 / (60 * RENEWED_AFTER)


@given(plans, st.floats(1, 50))
@settings(max_examples=200)
def test_more_calls_never_need_fewer_hosts(plan: Plan, factor: float) -> None:
    more = replace(plan, traffic=replace(plan.traffic, calls=plan.traffic.calls * factor))
    for before, after in zip(size(plan).tiers, size(more).tiers, strict=True):
        assert after.needed >= before.needed
        assert after.hosts >= before.hosts


@given(plans, st.floats(1, 10))
@settings(max_examples=100)
def test_every_load_is_proportional_to_calls(plan: Plan, factor: float) -> None:
    more = replace(plan, traffic=replace(plan.traffic, calls=plan.traffic.calls * factor))
    expected = {name: load * factor for name, load in loads(size(plan)).items()}
    assert loads(size(more)) == pytest.approx(expected)


@given(plans)
@settings(max_examples=200)
def test_what_is_sized_is_not_overfull(plan: Plan) -> None:
    """Nothing is above the plan's limit, with the lost PoPs gone, unless hosts are given."""
    fleet = size(plan)
    for tier in fleet.tiers[1:]:
        assert tier.filled() <= tier.fill * (1 + 1e-6)
    if not plan.layout.pop_hosts:
        assert fleet.pop.tightest.filled(fleet.pop_hosts_left) <= plan.pop.fill * (1 + 1e-6)


@given(plans)
@settings(max_examples=100)
def test_faster_hosts_are_never_more(plan: Plan) -> None:
    figures = plan.figures
    faster = replace(
        figures, packets_per_core_s=figures.packets_per_core_s * 2, call_ms_per_s=figures.call_ms_per_s / 2
    )
    for before, after in zip(size(plan).tiers, size(replace(plan, figures=faster)).tiers, strict=True):
        assert after.needed <= before.needed


def test_a_port_rests_as_long_as_the_relay_has_it() -> None:
    assert PORT_REST_S * 1e9 == REST_NS


@pytest.mark.parametrize(("load", "hosts"), [(0, 1), (10, 1), (10.1, 2), (20, 2), (1e9, 10**8)])
def test_hosts_of_a_resource(load: float, hosts: int) -> None:
    assert Resource("x", "", load, 20).hosts(0.5) == hosts

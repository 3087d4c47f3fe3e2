"""core.scale.failure: recoveries by hand, what breaks first, and that no flow is lost on the way."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.scale.assumptions import Plan, PopHost
from core.scale.failure import (
    LOOKUPS_PER_WORKER_S,
    READ_PER_RESTORED,
    REWRITES_PER_WORKER_S,
    Gone,
    Media,
    Recovery,
    Spare,
    checks,
    limits,
    losses,
    restore,
    spare_of,
    store_wiped,
    transceivers,
)
from core.scale.figures import Figures
from core.scale.fleet import size
from edge.host.worker import PACKETS_PER_WAKEUP
from edge.recall.lookups import Limits
from edge.recall.recall import BUSY_TICK_S, RESTORED_AT_ONCE, WRITTEN_AT_ONCE
from tests.core.scale.kit import ROUND, changed, plans
from tests.edge.dead_pop import BEHIND_ONE_NAT, FLOWS, ROUND_S, WORKERS

AMPLE = Spare(workers=1000, commands_per_s=1e9)
HOST = replace(ROUND.pop, workers=2)
TALKING = Media(50, 0.1)


def seconds(recovery: Recovery) -> tuple[float, str]:
    return recovery.seconds, recovery.limit


def test_limits_are_those_of_the_workers() -> None:
    assert Limits().asks_per_s == LOOKUPS_PER_WORKER_S
    assert REWRITES_PER_WORKER_S == WRITTEN_AT_ONCE / BUSY_TICK_S
    assert READ_PER_RESTORED == PACKETS_PER_WAKEUP / RESTORED_AT_ONCE


def test_each_rate_can_be_the_slowest() -> None:
    figures = ROUND.figures
    assert seconds(restore(40_000, TALKING, HOST, AMPLE, figures)) == (2.0, "budget")
    roomy = replace(HOST, punt_media_pps=1e6)
    assert seconds(restore(40_000, TALKING, roomy, AMPLE, figures)) == (2.0, "look-ups")
    assert seconds(restore(40_000, TALKING, HOST, replace(AMPLE, commands_per_s=8_000), figures)) == (
        5.0,
        "store",
    )
    # 19,900 packets/s come up on average, of 10 µs, and of 200 for the first of a flow
    took, limit = seconds(restore(40_000, TALKING, HOST, replace(AMPLE, workers=2), figures))
    assert (took, limit) == (pytest.approx(40_000 * 190e-6 / (2 - 0.199)), "workers")


def test_what_is_sent_seldom_comes_up_ever_less() -> None:
    """100 flows send 200 packets/s in the beginning and none in the end: 100/s on average."""
    took = restore(100, Media(2, 0.1), HOST, replace(AMPLE, workers=0.01), ROUND.figures).seconds
    assert took == pytest.approx(100 * 190e-6 / (0.01 - 100 * 10e-6))


def test_packets_that_come_seldom_are_waited_for() -> None:
    assert restore(100, Media(2, 0.1), HOST, AMPLE, ROUND.figures).seconds == 0.5


def test_a_worker_that_has_too_much_reads_four_packets_for_each_flow() -> None:
    """19,900 packets/s would take nearly all of 0.2 cores: 190 µs and 4 · 10 µs for each flow instead."""
    found = restore(40_000, TALKING, HOST, Spare(0.2, 1e9), ROUND.figures)
    assert seconds(found) == (pytest.approx(40_000 * 230e-6 / 0.2), "workers")


def test_without_anything_left_it_never_ends() -> None:
    assert seconds(restore(40_000, TALKING, HOST, Spare(0.0, 1e9), ROUND.figures)) == (
        math.inf,
        "workers",
    )
    assert seconds(restore(40_000, TALKING, HOST, Spare(2, 0.0), ROUND.figures)) == (math.inf, "store")
    assert checks(1, 2.5, HOST, Spare(0.0, 0.0), ROUND.figures).seconds == math.inf


def test_checks_by_hand() -> None:
    figures = ROUND.figures
    assert seconds(checks(10_000, 2.5, HOST, AMPLE, figures)) == (2.5, "check interval")
    assert seconds(checks(100_000, 2.5, HOST, AMPLE, figures)) == (5.0, "budget")
    assert seconds(checks(100_000, 2.5, HOST, Spare(0.5, 0), figures)) == (20.0, "workers")
    assert checks(0, 2.5, HOST, AMPLE, figures).seconds == 0


def test_who_is_behind_one_nat_waits_for_the_budget_of_its_address() -> None:
    found = restore(40_000, Media(50, 0.5), HOST, AMPLE, ROUND.figures)
    assert seconds(found) == (4.0, "budget of a NAT")


@pytest.mark.parametrize(("took_s", "cores"), [(5.5, 0.7), (5.5, 0.6), (9.5, 0.4), (12.5, 0.4), (14.3, 0.4)])
def test_recorded_drills_of_a_dead_pop_are_within_a_factor_of_two(took_s: float, cores: float) -> None:
    """Seconds, and the CPU that the two workers got, of runs of `make bench ONLY=scale` beside other work."""
    spare = Spare(cores, Figures().commands_per_server_s)
    media = Media(1 / ROUND_S, BEHIND_ONE_NAT / FLOWS)
    model = restore(FLOWS, media, PopHost(workers=WORKERS), spare, Figures())
    assert 0.5 < took_s / model.seconds < 2
    assert model.limit == "workers"


def test_the_death_of_a_host_by_hand() -> None:
    """48 hosts, four in a PoP: the other three share 25,000 flows with audio and 37,500 without."""
    with_store, without, *_ = losses(size(ROUND))
    assert (with_store.survivors, with_store.media) == (3, pytest.approx(25_000 / 3))
    assert with_store.spared == pytest.approx(37_500 / 3)
    assert without.recovery.flows == pytest.approx(62_500 / 3)
    assert with_store.filled == pytest.approx(130.1 / 480 * 4 / 3)


def test_what_a_survivor_has_left_by_hand() -> None:
    spare = spare_of(size(ROUND), Gone("", 1, 3, servers=1))
    assert spare.workers == pytest.approx(4 * (1 - 5.3 / (4 * 48)))
    assert spare.commands_per_s == pytest.approx((1 - 65_000 / 300_000) * 100_000 / 3)


def test_the_loss_of_pops_by_hand() -> None:
    anycast, without, elsewhere = losses(size(ROUND))[2:]
    assert (anycast.what, anycast.survivors) == ("4 of 12 PoPs, by anycast", 32)
    assert anycast.media == without.media == 1_200_000 / 3 / 32
    assert (elsewhere.media, elsewhere.spared, elsewhere.recovery.limit) == (0, 0, "clients")
    assert anycast.filled == elsewhere.filled == pytest.approx(130.1 / 480 * 1.5)


def test_transceivers_by_hand() -> None:
    host, region = transceivers(size(ROUND))
    assert (host.survivors, host.calls) == (504, pytest.approx(1_200_000 / 1515))
    # of a host's 10 cores 12,100 / 1515 are in use; a set-up takes 5 ms
    free = 10 - 12_100 / 1515
    assert host.seconds == pytest.approx(host.calls / (504 * free / 0.005))
    assert (region.survivors, region.calls) == (1010, pytest.approx(400_000))
    assert region.filled == pytest.approx(12_100 / 15_150 * 1.5)


def test_a_region_alone_has_nowhere_to_go() -> None:
    _, region = transceivers(size(changed(layout={"regions": 1})))
    assert (region.survivors, region.seconds) == (0, math.inf)


def test_a_wiped_store_by_hand() -> None:
    wiped = store_wiped(size(ROUND))
    assert (wiped.records_per_s, wiped.seconds, wiped.limit) == (300_000, 10.0, "servers")
    slow = store_wiped(size(changed(figures={"commands_per_server_s": 1e6}, pop={"workers": 1})))
    assert (slow.records_per_s, slow.limit) == (48 * 6_400, "relay workers")


def test_a_million_records_of_two_workers_take_as_long_as_the_bench_of_the_store_says() -> None:
    """78 s by the workers' own plan of when to write: tests/bench/bench_store.py."""
    assert pytest.approx(78.1, abs=0.1) == 1_000_000 / (2 * REWRITES_PER_WORKER_S)


SLOW_NETWORK: dict[str, dict[str, Any]] = {
    "transceiver": {"nic_gbit_s": 0.1},
    "figures": {"call_ms_per_s": 1.0},
}
BREAKS: dict[tuple[str, str], dict[str, dict[str, Any]]] = {
    ("PoP host", "cores"): {"pop": {"cores": 1.0}},
    ("PoP host", "relay workers"): {"pop": {"workers": 1}, "figures": {"new_flow_us": 20_000.0}},
    ("PoP host", "network, each way"): {"pop": {"nic_gbit_s": 0.2}},
    ("PoP host", "flows"): {"pop": {"max_flows": 5000}},
    ("PoP host", "NAT ports"): {"pop": {"nat_ports": 100}},
    ("PoP host", "first packets, budget"): {"pop": {"punt_pps": 20.0}},
    ("PoP host", "memory"): {"figures": {"worker_bytes_per_flow": 1e5}},
    ("transceiver host", "cores"): {"figures": {"call_ms_per_s": 100.0}},
    ("transceiver host", "sessions"): {"transceiver": {"max_sessions": 1}},
    ("transceiver host", "signaling"): {"figures": {"answers_per_process_s": 0.1}},
    ("transceiver host", "network, each way"): SLOW_NETWORK,
    ("transceiver host", "memory for calls"): {"figures": {"call_kib": 1e6}},
    ("store server", "commands"): {"figures": {"commands_per_server_s": 100.0}},
    ("store server", "memory"): {"figures": {"record_bytes": 1e6}},
}  # fmt: skip


@pytest.mark.parametrize(("tier", "resource"), BREAKS)
def test_each_resource_can_be_the_first_of_its_tier_to_break(tier: str, resource: str) -> None:
    fleet = size(changed(**BREAKS[tier, resource]))
    (found,) = [each for each in fleet.tiers if each.name == tier]
    assert found.tightest.name == resource
    first = next(limit for limit in limits(fleet) if limit.tier == tier)
    assert first.resource.name == resource


def test_every_resource_is_in_that_table() -> None:
    assert set(BREAKS) == {(tier.name, each.name) for tier in size(ROUND).tiers for each in tier.resources}


def test_what_breaks_first_breaks_at_that_number_of_calls() -> None:
    fleet = size(ROUND)
    first, *others = limits(fleet)
    assert all(first.filled >= other.filled for other in others)
    at_limit = changed(traffic={"calls": first.calls})
    resources = [each for tier in size(at_limit).tiers for each in tier.resources if tier.name == first.tier]
    (same,) = [each for each in resources if each.name == first.resource.name]
    hosts = next(tier.hosts for tier in fleet.tiers if tier.name == first.tier)
    assert same.filled(hosts) == pytest.approx(1.0)


@given(plans)
@settings(max_examples=300)
def test_flows_of_the_dead_all_come_to_somebody(plan: Plan) -> None:
    """Conservation: what the survivors get is what the dead had; nothing is nan or negative."""
    fleet = size(plan)
    lost = plan.layout.pops - plan.layout.pops_left
    for loss in losses(fleet):
        parts = [loss.media, loss.spared, loss.recovery.flows, loss.recovery.seconds, loss.filled]
        assert all(part >= -1e-6 for part in parts)  # of nan this is not true
        if loss.has_store is None:
            continue
        dead = 1 if "a host" in loss.what else lost * fleet.pop_hosts
        arriving = (loss.media + loss.spared) * loss.survivors
        assert arriving == pytest.approx(fleet.flows * dead / fleet.pop.hosts)
    assert all(again.seconds >= 0 for again in transceivers(fleet))
    assert store_wiped(fleet).seconds >= 0
    assert all(limit.filled > 0 and limit.calls > 0 for limit in limits(fleet))


@given(st.floats(0.001, 1e7), st.floats(0.1, 1000), st.floats(0, 64), st.floats(0, 1e7), st.floats(1, 100))
def test_more_flows_are_never_restored_sooner_nor_by_more_hands_later(
    flows: float, pps: float, cores: float, commands: float, factor: float
) -> None:
    host, figures = PopHost(), Figures()
    base = restore(flows, Media(pps, 0.1), host, Spare(cores, commands), figures)
    more = restore(flows * factor, Media(pps, 0.1), host, Spare(cores, commands), figures)
    assert more.seconds >= base.seconds * (1 - 1e-9)
    for spare in (Spare(cores * factor, commands), Spare(cores, commands * factor)):
        assert restore(flows, Media(pps, 0.1), host, spare, figures).seconds <= base.seconds * (1 + 1e-9)

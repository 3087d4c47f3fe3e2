"""The index: which client is led to which slot, by whatever order of events, and by several at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.addr import Endpoint
from ebpf import layout, pins
from ebpf.errors import MapFullError, PinError
from ebpf.flows import FlowRecord
from ebpf.index import Index
from ebpf.tables import Tables
from ebpf.verdict import Reason
from tests.ebpf.rig import FLOW4, FLOW6, SIZES, Rig, upstream, version_of

FLOW = pytest.mark.parametrize("flow", [FLOW4, FLOW6], ids=["ipv4", "ipv6"])
SLOTS = 1 << 15
"""Above those that the flows of rig.py have."""


def numbered(flow: FlowRecord, number: int) -> FlowRecord:
    """One of many clients with a slot of its own."""
    host, port = flow.client
    return flow._replace(
        client=Endpoint(host[:-1] + str(number % 8), port + number // 8), slot=SLOTS + number
    )


def live(rig: Rig, flows: list[FlowRecord]) -> list[FlowRecord]:
    for flow in flows:
        rig.tables.write_slot(flow)
    return flows


@FLOW
def test_a_client_is_led_to_one_slot_at_a_time(rig: Rig, flow: FlowRecord) -> None:
    family = version_of(flow)
    live(rig, [flow, other := flow._replace(slot=flow.slot + 1)])
    assert rig.index.find(flow.client, flow.vip_id) == 0
    for each in (flow, flow, other, flow, other):
        rig.index.link(family, each.slot)
        assert rig.index.find(flow.client, flow.vip_id) == each.slot
        assert rig.tables.linked(family).tolist() == [each.slot]
    assert not rig.index.unlink(family, flow.slot), "nothing leads there"
    assert rig.index.unlink(family, other.slot)
    assert not rig.index.unlink(family, other.slot)
    assert rig.index.find(flow.client, flow.vip_id) == 0


@FLOW
def test_what_is_off_is_not_found_but_can_be_taken_out(rig: Rig, flow: FlowRecord) -> None:
    rig.install(flow)
    rig.tables.set_slot_state(version_of(flow), flow.slot, layout.SLOT_OFF)
    assert rig.index.find(flow.client, flow.vip_id) == 0
    assert rig.index.unlink(version_of(flow), flow.slot)
    assert rig.tables.linked(version_of(flow)).size == 0


@FLOW
def test_as_many_flows_as_it_is_made_for_fit_and_more(rig: Rig, flow: FlowRecord) -> None:
    """Beyond that, whoever has no room is refused, and the others stay."""
    family = version_of(flow)
    flows = live(rig, [numbered(flow, number) for number in range(4 * SIZES.max_flows4)])
    for each in flows[: SIZES.max_flows4]:
        rig.index.link(family, each.slot)
    linked, refused = list(flows[: SIZES.max_flows4]), 0
    for each in flows[SIZES.max_flows4 :]:
        try:
            rig.index.link(family, each.slot)
            linked.append(each)
        except MapFullError:
            refused += 1
    assert refused >= 2 * SIZES.max_flows4
    assert [rig.index.find(each.client, each.vip_id) for each in linked] == [each.slot for each in linked]
    assert sorted(rig.tables.linked(family).tolist()) == sorted(each.slot for each in linked)
    assert all(rig.send(upstream(each)).reason == Reason.FORWARD_UP for each in linked[:: len(linked) // 8])
    for each in linked:
        assert rig.index.unlink(family, each.slot)
    assert not rig.tables.buckets[family].any()


STEPS = st.lists(
    st.tuples(st.sampled_from(["link", "unlink"]), st.integers(0, 19), st.integers(0, 2)), max_size=60
)


@FLOW
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)  # the fixture is emptied by the test itself
@given(steps=STEPS)
def test_any_order_of_events(rig: Rig, flow: FlowRecord, steps: list[tuple[str, int, int]]) -> None:
    """Twenty clients, three slots for each."""
    family = version_of(flow)
    rig.tables.buckets[family][:] = 0
    flows = {
        (number, which): numbered(flow, number)._replace(slot=SLOTS + 3 * number + which)
        for number in range(20)
        for which in range(3)
    }
    live(rig, list(flows.values()))
    led: dict[int, int] = {}
    for step, number, which in steps:
        if step == "link":
            rig.index.link(family, flows[number, which].slot)
            led[number] = which
        else:
            assert rig.index.unlink(family, flows[number, which].slot) == (led.get(number) == which)
            led.pop(number, None) if led.get(number) == which else None
    for number in range(20):
        wanted = flows[number, led[number]].slot if number in led else 0
        assert rig.index.find(numbered(flow, number).client, flow.vip_id) == wanted


@pytest.fixture
def second(rig: Rig) -> Iterator[Index]:
    """Another worker's."""
    opened = Index(rig.pin_dir)
    yield opened
    opened.close()


def meanwhile(busy: Callable[[], object], watched: Callable[[], object]) -> None:
    """Do one thing again and again in a thread, until the other is done; system calls run in parallel."""
    done = threading.Event()

    def work() -> None:
        while not done.is_set():
            busy()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        watched()
    finally:
        done.set()
        thread.join()


@FLOW
def test_at_no_moment_is_a_client_lost_that_changes_slots(rig: Rig, second: Index, flow: FlowRecord) -> None:
    slots = [each.slot for each in live(rig, [flow, flow._replace(slot=flow.slot + 1)])]
    rig.index.link(version_of(flow), slots[0])

    def change() -> None:
        for slot in reversed(slots):
            second.link(version_of(flow), slot)

    def look() -> None:
        for _ in range(20_000):
            assert rig.index.find(flow.client, flow.vip_id) in slots

    meanwhile(change, look)


@FLOW
def test_workers_do_not_undo_each_others_entries(rig: Rig, second: Index, flow: FlowRecord) -> None:
    """Neighbouring entries are exchanged together."""
    family = version_of(flow)
    flows = live(rig, [numbered(flow, number) for number in range(SIZES.max_flows4)])
    ours, theirs = flows[::2], flows[1::2]

    def change() -> None:
        for each in theirs:
            second.link(family, each.slot)
        for each in theirs:
            assert second.unlink(family, each.slot)

    def look() -> None:
        for _ in range(100):
            for each in ours:
                rig.index.link(family, each.slot)
            for each in ours:
                assert rig.index.find(each.client, each.vip_id) == each.slot
                assert rig.index.unlink(family, each.slot)

    meanwhile(change, look)
    assert not rig.tables.buckets[family].any()


def test_the_seed_stays_as_long_as_the_maps(bpffs: Path) -> None:
    seeds = set()
    for name in ("one", "two"):
        directory = bpffs / name
        pins.ensure_maps(directory, SIZES)
        config = Tables(directory).config
        seeds.add(seed := int(config["index_seed"]))
        pins.ensure_maps(directory, SIZES)
        assert int(config["index_seed"]) == seed
        assert seed & 1, "odd numbers alone lose nothing by multiplication"
        assert config["index_buckets"].tolist() == [8, 8]
        pins.unpin(directory)
    assert len(seeds) == 2


@pytest.mark.parametrize("flows", [0, 1, 88, 89, 1000, 1024, 1025, 1_000_000])
def test_it_is_at_most_seven_tenths_full(flows: int) -> None:
    entries = pins.buckets(flows) * layout.BUCKET_ENTRIES
    assert flows <= 0.7 * entries
    assert entries == 128 or flows > 0.6 * entries


def test_without_the_dataplane(bpffs: Path) -> None:
    with pytest.raises(PinError, match="voxpop_index: `voxpop dataplane run` first"):
        Index(bpffs / "nowhere")


def test_a_slot_beyond_the_table_is_refused(rig: Rig) -> None:
    with pytest.raises(MapFullError):
        rig.index.link(4, 1 << 23)
    assert not rig.index.unlink(4, 1 << 23)
    assert np.count_nonzero(rig.tables.buckets[4]) == 0

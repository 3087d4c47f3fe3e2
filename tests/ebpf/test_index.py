"""The index: which client is led to which slot, by whatever order of events, and by several at once."""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Callable, Container, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.addr import Endpoint, IpFamily
from ebpf import layout, loader, pins
from ebpf.errors import MapFullError, PinError
from ebpf.flows import FlowRecord
from ebpf.ids import NatSlot
from ebpf.index import Index
from ebpf.tables import Tables
from ebpf.verdict import Reason
from tests.ebpf.rig import FLOW4, FLOW6, SIZES, Rig, sent_upstream, upstream, version_of
from tests.paths import programs

FLOW = pytest.mark.parametrize("flow", [FLOW4, FLOW6], ids=["ipv4", "ipv6"])
SLOTS = 1 << 15
"""Above those that the flows of rig.py have."""


def numbered(flow: FlowRecord, number: int) -> FlowRecord:
    """One of many clients with a slot of its own."""
    host, port = flow.client
    return flow._replace(
        client=Endpoint(host[:-1] + str(number % 8), port + number // 8), slot=NatSlot(SLOTS + number)
    )


def live(rig: Rig, flows: list[FlowRecord]) -> list[FlowRecord]:
    for flow in flows:
        rig.tables.write_slot(flow)
    return flows


def places(rig: Rig, flow: FlowRecord) -> list[NatSlot]:
    """Slots of every kind that a client may have."""
    first, second = rig.index.groups(flow.client)
    return [*map(NatSlot, (first, first + 15, second + 7, flow.slot, flow.slot + 1))]


@FLOW
def test_a_client_is_led_to_one_slot_at_a_time(rig: Rig, flow: FlowRecord) -> None:
    family = version_of(flow)
    slots = places(rig, flow)
    flows = live(rig, [flow._replace(slot=slot) for slot in slots])
    assert rig.index.find(flow.client, flow.vip_id) == 0
    before = flows[-1]
    for each in [flows[a] for b in range(5) for c in range(5) for a in (b, c)]:
        rig.index.link(family, each.slot)
        assert rig.index.find(flow.client, flow.vip_id) == each.slot
        assert rig.tables.linked(family).tolist() == [each.slot]
        assert rig.send(upstream(each)).run.frame == bytes(sent_upstream(each, upstream(each)))
        assert before is each or not rig.index.unlink(family, before.slot), "nothing leads there"
        before = each
    assert rig.index.unlink(family, before.slot)
    assert not rig.index.unlink(family, before.slot)
    assert rig.index.find(flow.client, flow.vip_id) == 0
    assert rig.tables.linked(family).size == 0


@FLOW
def test_all_who_share_a_group_are_found_there(rig: Rig, flow: FlowRecord) -> None:
    """The sixteen slots of one, in any order; each client's packets go by its own record."""
    family = version_of(flow)
    clients = clients_of_a_group(rig, flow, layout.GROUP_SLOTS)
    (group,) = {next(rig.index.groups(client)) for client in clients}
    slots = random.Random(1).sample(range(group, group + layout.GROUP_SLOTS), layout.GROUP_SLOTS)
    flows = [
        flow._replace(client=each, slot=NatSlot(slot)) for each, slot in zip(clients, slots, strict=True)
    ]
    for each in live(rig, flows):
        rig.index.link(family, each.slot)
    assert not rig.tables.buckets[family].any()
    assert sorted(rig.tables.linked(family).tolist()) == sorted(slots)
    for each in flows:
        assert rig.index.find(each.client, each.vip_id) == each.slot
        assert rig.send(upstream(each)).run.frame == bytes(sent_upstream(each, upstream(each)))
    for number, each in enumerate(flows, 1):
        assert rig.index.unlink(family, each.slot)
        found = [rig.index.find(other.client, other.vip_id) for other in flows]
        assert found == [0] * number + [other.slot for other in flows[number:]]


@FLOW
def test_neighbours_of_one_tag_are_told_apart(rig: Rig, flow: FlowRecord) -> None:
    family = version_of(flow)
    first, other = two_of_one_tag(rig, flow, range(1, 256))
    for here, there in ((0, 1), (0, 8), (7, 15), (9, 2)):
        pair = [
            each._replace(slot=NatSlot(first.slot + place)) for each, place in ((first, here), (other, there))
        ]
        for each in live(rig, pair):
            rig.index.link(family, each.slot)
        for each in pair:
            assert rig.index.find(each.client, each.vip_id) == each.slot
            assert rig.send(upstream(each)).run.frame == bytes(sent_upstream(each, upstream(each)))
        for each in pair:
            assert rig.index.unlink(family, each.slot)


@FLOW
def test_a_client_is_led_even_where_it_is_found_by_mistake(rig: Rig, flow: FlowRecord) -> None:
    """The place above a tag that matches is taken for a match too if it is empty and the tag is 1."""
    family = version_of(flow)
    first, other = two_of_one_tag(rig, flow, [1])
    below, above = (NatSlot(first.slot + layout.TAG_SLOTS[place]) for place in (3, 4))
    first, other = first._replace(slot=below), other._replace(slot=above)
    for each in live(rig, [first, other]):
        rig.index.link(family, each.slot)
    assert rig.index.unlink(family, first.slot)
    assert rig.index.find(other.client, other.vip_id) == other.slot
    assert rig.index.unlink(family, other.slot)


def two_of_one_tag(rig: Rig, flow: FlowRecord, tags: Container[int]) -> tuple[FlowRecord, FlowRecord]:
    """Flows of two clients with the same tag, one of `tags`, and the same first group, whose first slot they
    have.
    """
    family = version_of(flow)
    by_tag: dict[int, FlowRecord] = {}
    for client in clients_of_a_group(rig, flow, 4096):
        found = flow._replace(client=client, slot=next(rig.index.groups(client)))
        live(rig, [found])
        rig.index.link(family, found.slot)
        (tag,) = rig.tables.groups[family][rig.tables.groups[family] != 0].tolist()
        rig.index.unlink(family, found.slot)
        if tag in by_tag:
            return by_tag[tag], found
        if tag in tags:
            by_tag[tag] = found
    pytest.fail("no two of 4096 clients have the same one of these tags")


def clients_of_a_group(rig: Rig, flow: FlowRecord, count: int) -> list[Endpoint]:
    """So many, for whom the same group is the first one, of so few groups that there are."""
    rig.tables.config["index_groups"] = 4
    found: dict[int, list[Endpoint]] = {}
    for number in itertools.count():
        client = numbered(flow, number).client
        sharers = found.setdefault(next(rig.index.groups(client)), [])
        sharers.append(client)
        if len(sharers) == count:
            return sharers
    raise AssertionError


@FLOW
def test_groups_are_spread_over_all_ports_alike(rig: Rig, flow: FlowRecord) -> None:
    """Whatever clients' addresses have in common."""
    count = 8 * layout.GROUPS
    for which in range(layout.CLIENT_GROUPS):
        first_slots = np.array([
            list(rig.index.groups(numbered(flow, number).client))[which] for number in range(count)
        ])  # fmt: skip
        assert not (first_slots % layout.GROUP_SLOTS).any()
        assert first_slots.min() >= layout.GROUP_FIRST
        assert first_slots.max() <= layout.PORTS - layout.GROUP_SLOTS
        clients = np.bincount(first_slots // layout.GROUP_SLOTS)
        assert np.maximum(clients - layout.GROUP_SLOTS, 0).sum() < count // 50, "few find no place"


def test_groups_of_several_addresses(bpffs: Path) -> None:
    """None lies among the ports below GROUP_FIRST, of whichever address."""
    directory = bpffs / "three"
    pins.ensure_maps(directory, pins.Sizes(64, 64, 3, 2, 64))
    loaded = loader.load_kept(directory, programs(bpffs))
    loader.pin(loaded, directory)
    loaded.close()
    index, tables = Index(directory), Tables(directory)
    for flow, addresses in ((FLOW4, 3), (FLOW6, 2)):
        groups = [group for n in range(2000) for group in index.groups(numbered(flow, n).client)]
        assert {group // layout.PORTS for group in groups} == set(range(addresses))
        assert min(group % layout.PORTS for group in groups) >= layout.GROUP_FIRST
        for number, group in enumerate(groups[::250]):
            each = numbered(flow, number * 125)._replace(slot=NatSlot(group + number))
            tables.write_slot(each)
            index.link(version_of(flow), each.slot)
            assert index.find(each.client, each.vip_id) == each.slot
            assert tables.linked(version_of(flow)).tolist() == [each.slot]
            assert not tables.buckets[version_of(flow)].any()
            assert index.unlink(version_of(flow), each.slot)
    tables.close()
    index.close()


@FLOW
def test_what_is_off_is_not_found_but_can_be_taken_out(rig: Rig, flow: FlowRecord) -> None:
    rig.install(flow)
    rig.tables.set_slot_state(version_of(flow), flow.slot, layout.SLOT_OFF)
    assert rig.index.find(flow.client, flow.vip_id) == 0
    assert rig.index.unlink(version_of(flow), flow.slot)
    assert rig.tables.linked(version_of(flow)).size == 0


@FLOW
def test_a_task_of_a_newer_relay_does_nothing(rig: Rig, flow: FlowRecord) -> None:
    rig.install(flow)
    rig.index._request.family, rig.index._request.slot = version_of(flow), flow.slot
    known = {number for name, number in vars(layout).items() if name.startswith("INDEX_")}
    assert known == set(range(len(known)))
    for task in (len(known), 2**32 - 1):
        assert rig.index._run_task(task) == 0
    assert rig.index.find(flow.client, flow.vip_id) == flow.slot


@FLOW
def test_as_many_flows_as_it_is_made_for_fit_and_more(rig: Rig, flow: FlowRecord) -> None:
    """Beyond that, whoever has no room is refused, and the others stay."""
    family = version_of(flow)
    rig.tables.config["index_groups"] = 0  # so that no slot of theirs is in its group
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


def three_slots(rig: Rig, flow: FlowRecord, elsewhere: int) -> list[NatSlot]:
    number = (elsewhere - SLOTS) // 3  # so that no two have one
    in_group = next(rig.index.groups(flow.client)) + number % layout.GROUP_SLOTS
    return [*map(NatSlot, (elsewhere, elsewhere + 1, in_group))]


STEPS = st.lists(
    st.tuples(st.sampled_from(["link", "unlink"]), st.integers(0, 19), st.integers(0, 2)), max_size=60
)


@FLOW
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)  # the fixture is emptied by the test itself
@given(steps=STEPS)
def test_any_order_of_events(rig: Rig, flow: FlowRecord, steps: list[tuple[str, int, int]]) -> None:
    """Twenty clients, three slots for each, one of them in its group."""
    family = version_of(flow)
    rig.tables.groups[family][:], rig.tables.buckets[family][:] = 0, 0
    flows = {
        (number, which): numbered(flow, number)._replace(slot=slot)
        for number in range(20)
        for which, slot in enumerate(three_slots(rig, numbered(flow, number), SLOTS + 3 * number))
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
def test_a_client_that_changes_slots_is_led_to_its_own_or_none(
    rig: Rig, second: Index, flow: FlowRecord
) -> None:
    slots = places(rig, flow)
    live(rig, [flow._replace(slot=slot) for slot in slots])
    rig.index.link(version_of(flow), slots[0])

    def change() -> None:
        for slot in reversed(slots):
            second.link(version_of(flow), slot)

    def look() -> None:
        for _ in range(20_000):
            assert rig.index.find(flow.client, flow.vip_id) in (0, *slots)

    meanwhile(change, look)
    assert rig.index.find(flow.client, flow.vip_id) == slots[0]
    assert rig.tables.linked(version_of(flow)).tolist() == [slots[0]]


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
    beyond = NatSlot(1 << 23)
    with pytest.raises(MapFullError):
        rig.index.link(IpFamily.V4, beyond)
    assert not rig.index.unlink(IpFamily.V4, beyond)
    assert np.count_nonzero(rig.tables.buckets[IpFamily.V4]) == 0

"""Shares of NAT ports, and the queue of the free ones; and slots over real maps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebpf.ids import BackboneIndex, NatSlot
from edge.fastpath.nat_slots import FreeQueue, NatRange, Slots, share_ports
from tests.edge.fastpath.rig import V4, Rig

BACKBONES = [BackboneIndex(0), BackboneIndex(1)]


@pytest.mark.parametrize("workers", [1, 2, 3, 7])
def test_shares_cover_all_ports_once(workers: int) -> None:
    parts = [r for index in range(workers) for r in share_ports(BACKBONES, 20000, 20030, index, workers)]
    slots = [(r.backbone, port) for r in parts for port in range(r.first, r.last + 1, r.step)]
    assert sorted(slots) == [(backbone, port) for backbone in (0, 1) for port in range(20000, 20031)]


@given(steps=st.lists(st.integers(0, 7), max_size=40), waiting=st.sets(st.integers(0, 7)))
def test_a_queue_is_in_the_order_of_coming(steps: list[int], waiting: set[int]) -> None:
    """Each step is of one who then leaves the line, or else joins it."""
    line, model = FreeQueue(8), [*waiting]
    line.fill(np.array(model, np.intp))
    for each in steps:
        if each in model:
            model.remove(each)
            line.leave(each)
        else:
            model.append(each)
            line.join(each)
        assert line.first == (model[0] if model else 8)
    for each in model:
        assert line.first == each
        line.leave(each)
    assert line.first == 8


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


def test_a_vip_port_is_no_nat_port(rig: Rig) -> None:
    ports = NatRange(BackboneIndex(0), 3477, 3479)
    slots = Slots(rig.tables.records[V4], [ports], frozenset({NatSlot(3478)}), rig.clock)
    assert slots.numbers.tolist() == [3477, 3479]

"""The order in which flows begin and end in the maps, and what is left where a worker died in between."""

from __future__ import annotations

import numpy as np
import pytest

from ebpf import layout
from edge.relay.verdict import RelayReason
from tests.edge.fastpath.rig import (
    V4,
    V6,
    Rig,
    installed,
)


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


def test_a_full_map_gives_the_slot_back(rig: Rig) -> None:
    """Entries that are not ours, so that there is no room before the worker's share is in use."""
    buckets = rig.tables.buckets[V4]
    buckets[:] = np.where(buckets == 0, 9, buckets)
    assert rig.install(1) is RelayReason.TABLE_FULL
    assert len(rig.forwarder) == 0
    assert not rig.tables.live(V4).size

"""Shares of NAT ports, and the queue of the free ones; slots over real maps are in test_forwarder.py."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebpf.ids import BackboneIndex
from edge.fastpath.nat_slots import FreeQueue, share_ports

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

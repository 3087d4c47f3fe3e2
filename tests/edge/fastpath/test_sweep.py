"""Which flows a sweep ends, and how many at a time."""

from __future__ import annotations

import numpy as np
import pytest

from ebpf import layout
from edge.fastpath import forwarder as xdp
from edge.fastpath import sweep
from edge.forwarders.life import SILENCE_NS, UNCONFIRMED_NS
from edge.forwarders.sweep import ROUNDS_PER_TIMEOUT, TICK_S
from edge.relay.forwarder import Stranger, VipIndex
from tests.edge.fastpath.rig import (
    IDLE_NS,
    TRANSCEIVERS,
    V4,
    Rig,
    S,
    client_of,
    installed,
    ufrag_of,
)


def test_a_sweep_ends_silent_clients_only(rig: Rig) -> None:
    silent, heard = rig.install_answered(1), rig.install_answered(2)
    seen = [each["common"]["seen"] for each in rig.tables.records[V4]]
    rig.now_ns += IDLE_NS + S
    seen[layout.UPSTREAM][heard.slot] = rig.clock.stamp(rig.now_ns - 20 * S)
    for flow in (silent, heard):
        rig.answer(flow)
    rig.sweep_all()
    assert rig.find(1) is None
    assert rig.find(2) is not None
    assert rig.counters.get("removals", "idle") == 1
    assert rig.tables.linked(V4).tolist() == [heard.slot]


def test_a_silent_transceiver_ends_a_flow_and_upstream_does_not_keep_it(rig: Rig) -> None:
    over, live = rig.install_answered(1), rig.install_answered(2)
    heard = rig.tables.records[V4][layout.UPSTREAM]["common"]["seen"]
    for _ in range(2):
        rig.now_ns += SILENCE_NS // 2
        rig.answer(live)
        heard[over.slot] = heard[live.slot] = rig.clock.stamp(rig.now_ns)
        rig.sweep_all()
        assert len(rig.forwarder) == 2
    rig.now_ns += S // 5  # a stamp lasts less than that
    rig.sweep_all()
    assert rig.find(1) is None
    assert rig.find(2) is not None
    assert rig.counters.get("removals", "unanswered") == 1


def test_a_flow_that_was_never_answered_ends_soon_and_one_of_a_store_later(rig: Rig) -> None:
    installed(rig.install(1))
    stranger = Stranger(VipIndex(0), client_of(2))
    rig.forwarder.install(stranger, ufrag_of(2), TRANSCEIVERS[0], rig.now_ns, is_restored=True)
    answered = installed(rig.install(3))
    rig.answer(answered)
    rig.now_ns += UNCONFIRMED_NS
    rig.sweep_all()
    assert rig.counters.get("unconfirmed") == 2
    rig.now_ns += S // 5
    rig.sweep_all()
    assert rig.find(1) is None
    assert rig.find(2) is not None
    assert rig.find(3) is not None
    rig.now_ns += SILENCE_NS
    rig.sweep_all()
    assert len(rig.forwarder) == rig.counters.get("unconfirmed") == 0
    assert rig.counters.get("removals", "unanswered") == 3


@pytest.mark.parametrize(("later_ns", "left"), [(0, [7, 4, 1, 0]), (SILENCE_NS // 4, [7, 0])])
def test_a_sweep_stops_after_a_few_and_goes_on_from_there(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, later_ns: int, left: list[int]
) -> None:
    """With more at once when it is late."""
    monkeypatch.setattr(sweep, "REMOVALS_AT_ONCE", 3)
    monkeypatch.setattr(sweep, "SLOTS_AT_ONCE", 4)
    for number in range(10):
        rig.install_answered(number)
    rig.now_ns += IDLE_NS + S
    found, rests = [], []
    while len(rig.forwarder):
        rests.append(rig.forwarder.sweep(rig.now_ns))
        found.append(len(rig.forwarder))
        rig.now_ns += later_ns
    assert found == left
    assert rests == [xdp.REST_AFTER_REMOVALS_S] * (len(left) - 1) + [TICK_S]


def test_a_stamp_lasts_longer_than_any_idle_timeout(rig: Rig) -> None:
    longest_ns = 3600 * S
    assert rig.clock.unit_ns << 16 > longest_ns + longest_ns // ROUNDS_PER_TIMEOUT
    assert rig.clock.unit_ns < S // 8
    seen = np.array([rig.clock.stamp(rig.now_ns)], np.uint16)
    later_ns = rig.now_ns + longest_ns
    assert rig.clock.idle(seen, later_ns - rig.clock.unit_ns) <= rig.clock.units(longest_ns)
    assert rig.clock.idle(seen, later_ns + 2 * rig.clock.unit_ns) > rig.clock.units(longest_ns)

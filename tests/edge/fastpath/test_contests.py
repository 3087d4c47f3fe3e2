"""Addresses that two calls have, as the records and the index have them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from core.addr import Endpoint
from ebpf import layout
from edge.fastpath.flow import XdpFlow
from edge.forwarders.life import SILENCE_NS, UNCONFIRMED_NS
from edge.relay import forwarder as seam
from edge.relay.verdict import RelayReason
from tests.edge.fastpath.rig import V4, V6, Rig, S, installed, ufrag_of

OTHERS = (Endpoint("127.0.0.2", 40001), Endpoint("::2", 40001))
VIP = pytest.mark.parametrize("vip", [0, 1], ids=["ipv4", "ipv6"])


def contest(rig: Rig, flow: XdpFlow, vip: int = 0, session: int = 1) -> XdpFlow | RelayReason:
    """Another call at the address of a flow."""
    return rig.forwarder.contest(flow, ufrag_of(session), OTHERS[vip], rig.now_ns)


def transceiver_of(rig: Rig, flow: XdpFlow) -> int:
    """The number in the upstream record; 0: the worker carries it."""
    return int(rig.tables.records[flow.family][layout.UPSTREAM]["common"]["transceiver"][flow.slot])


@VIP
def test_both_flows_are_carried_and_the_owner_is_found(rig: Rig, vip: int) -> None:
    owner = rig.install_answered(1, vip=vip)
    rival = installed(contest(rig, owner, vip))
    assert not rival.is_confirmed
    assert rig.find(1, vip) == rig.forwarder.find(owner.client, owner.vip, rig.now_ns)
    found = rig.forwarder.rival_of(owner, rig.now_ns)
    assert found is not None
    assert (found.slot, found.transceiver) == (rival.slot, OTHERS[vip])
    assert transceiver_of(rig, owner) == layout.NO_TRANSCEIVER
    upstream, downstream = (records["common"]["state"] for records in rig.tables.records[owner.family])
    assert [upstream[rival.slot], downstream[rival.slot]] == [layout.SLOT_RIVAL, layout.SLOT_LIVE]
    assert rig.tables.linked(owner.family).tolist() == [owner.slot]
    assert rig.counters.get("contested") == 1
    before = rig.outcomes()
    rig.forwarder.forward(owner, memoryview(b"media"), rig.now_ns)
    rig.forwarder.copy(rival, memoryview(b"media"), rig.now_ns)
    assert rig.outcomes() == [before[0] + 1, *before[1:]], "a copy is no packet"
    assert rig.counters.get("copies", "forwarded") == 1
    assert transceiver_of(rig, owner) == layout.NO_TRANSCEIVER
    assert contest(rig, owner, vip, session=2) is RelayReason.FLOW_IN_USE


@VIP
def test_a_rival_that_is_never_answered_goes_and_the_program_carries_the_owner_again(
    rig: Rig, vip: int
) -> None:
    owner = rig.install_answered(1, vip=vip)
    number = transceiver_of(rig, owner)
    installed(contest(rig, owner, vip))
    rig.now_ns += UNCONFIRMED_NS + S
    rig.answer(owner)
    rig.sweep_all()
    assert len(rig.forwarder) == 1
    assert rig.forwarder.rival_of(owner, rig.now_ns) is None
    assert transceiver_of(rig, owner) == number
    assert rig.counters.get("contested") == 0


@VIP
@pytest.mark.parametrize("ends", ["silent", "removed"])
def test_when_the_owner_ends_the_rival_has_the_address_alone(rig: Rig, vip: int, ends: str) -> None:
    owner = rig.install_answered(1, vip=vip)
    rival = installed(contest(rig, owner, vip))
    told: list[XdpFlow] = []
    rig.forwarder.on_promoted = told.append
    rig.now_ns += SILENCE_NS + S
    rig.answer(rival)
    if ends == "removed":
        rig.remove(owner)
    rig.sweep_all()
    found = rig.find(1, vip)
    assert found is not None
    assert (found.slot, found.transceiver) == (rival.slot, OTHERS[vip])
    assert [(flow.slot, flow.vip, flow.client) for flow in told] == [(rival.slot, owner.vip, owner.client)]
    assert transceiver_of(rig, rival) != layout.NO_TRANSCEIVER
    assert rig.tables.linked(owner.family).tolist() == [rival.slot]
    assert len(rig.forwarder) == rig.counters.get("flows") == 1


def test_a_worker_that_comes_anew_carries_what_was_contested(rig: Rig) -> None:
    owner = rig.install_answered(1)
    rival = installed(contest(rig, owner))
    number = int(rig.tables.records[V4][layout.UPSTREAM]["common"]["transceiver"][rival.slot])
    assert number
    rig.forwarder.close()
    rig.open()
    assert len(rig.forwarder) == 1
    found = rig.find(1)
    assert found is not None
    assert found.slot == owner.slot
    states = [records["common"]["state"][rival.slot] for records in rig.tables.records[V4]]
    assert states[layout.DOWNSTREAM] == layout.SLOT_OFF
    rig.forwarder.forward(found, memoryview(b"media"), rig.now_ns)
    assert transceiver_of(rig, found) != layout.NO_TRANSCEIVER
    assert installed(contest(rig, found)).slot != owner.slot


def test_the_owner_makes_room_for_its_rival_where_it_was_not_confirmed(pin_dir: Path, rig: Rig) -> None:
    few = Rig(pin_dir, max_flows=1)
    try:
        owner = installed(few.install(1))
        alone = installed(contest(few, owner))
        found = few.find(1)
        assert found is not None
        assert found.slot == alone.slot != owner.slot
        assert few.forwarder.rival_of(found, few.now_ns) is None
        assert transceiver_of(few, alone) != layout.NO_TRANSCEIVER
    finally:
        few.close()


def is_without(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """An older program."""
    monkeypatch.setattr(rig.store.maps.index, "knows_contests", lambda: False)


def is_full(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as may be."""
    monkeypatch.setattr("edge.fastpath.contests.MAX_CONTESTS", 0)
    assert seam.MAX_CONTESTS


@pytest.mark.parametrize("lack", [is_without, is_full])
def test_what_cannot_be_contested_stays_as_it_was(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, lack: Callable[[Rig, pytest.MonkeyPatch], None]
) -> None:
    owner = rig.install_answered(1)
    number = transceiver_of(rig, owner)
    lack(rig, monkeypatch)
    assert contest(rig, owner) is RelayReason.FLOW_IN_USE
    assert transceiver_of(rig, owner) == number
    assert len(rig.forwarder) == 1


def test_another_workers_flow_is_not_contested(pin_dir: Path, rig: Rig) -> None:
    first, second = Rig(pin_dir, (0, 2)), Rig(pin_dir, (1, 2))
    try:
        owner = first.install_answered(1)
        assert contest(second, owner) is RelayReason.FLOW_IN_USE
        assert np.count_nonzero(rig.tables.live(V6)) == 0
    finally:
        first.close()
        second.close()

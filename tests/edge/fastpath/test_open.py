"""What a worker finds when it opens the maps."""

from __future__ import annotations

from pathlib import Path

from ebpf.flows import ufrag_mark
from edge.fastpath.nat_slots import REST_NS
from edge.relay.verdict import RelayReason
from tests.edge.fastpath.rig import (
    V4,
    Rig,
    installed,
    ufrag_of,
)


def test_a_restart_does_not_shorten_the_rest(pin_dir: Path, rig: Rig) -> None:
    few = Rig(pin_dir, ports=(21010, 21010))
    few.remove(installed(few.install(1)))
    few.close()
    after = Rig(pin_dir, ports=(21010, 21010))
    try:
        assert after.install(2) is RelayReason.NO_NAT_PORT
        after.now_ns += REST_NS
        installed(after.install(2))
    finally:
        after.close()


def test_a_successor_adopts_everything(pin_dir: Path, rig: Rig) -> None:
    flows = [installed(rig.install(n, session=n % 2)) for n in range(5)]
    installed(rig.install(1, vip=1))
    successor = Rig(pin_dir)
    try:
        assert len(successor.forwarder) == 6
        assert successor.counters.get("installs", "adopted") == 6
        assert [successor.find(n) is not None for n in range(5)] == [True] * 5
        marks = successor.store.families[V4].slots.addresses
        assert {m: marks[m] for m in marks} == {ufrag_mark(ufrag_of(0)): 3, ufrag_mark(ufrag_of(1)): 2}
        fresh = installed(successor.install(9))
        assert fresh.slot not in {flow.slot for flow in flows}
    finally:
        successor.close()

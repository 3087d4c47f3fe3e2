"""Test runs of the real program: what comes out, and what the kernel does not take."""

from __future__ import annotations

import pytest

from ebpf.errors import MapError
from ebpf.kernel.testrun import XdpAction, run
from ebpf.loader import Program
from tests.ebpf.rig import FLOW4, TAG, UP_TAGGED, Rig, sent_upstream, upstream


@pytest.fixture
def program(rig: Rig) -> int:
    return rig.loaded.fds[Program.BACKBONE]


def test_what_is_passed_comes_out_as_it_was(program: int) -> None:
    arp = b"\xff" * 6 + bytes(6) + b"\x08\x06" + bytes(46)
    outcome = run(program, arp)
    assert (outcome.action, outcome.frame) == (XdpAction.PASS, arp)


def test_a_frame_may_come_out_longer(rig: Rig, program: int) -> None:
    rig.install(FLOW4._replace(transceiver_id=type(FLOW4.transceiver_id)(UP_TAGGED)))
    sent = bytes(upstream(FLOW4))
    outcome = run(program, sent)
    assert outcome.action is XdpAction.REDIRECT
    assert outcome.frame == bytes(sent_upstream(FLOW4, upstream(FLOW4)).but(tags=(TAG,)))
    assert len(outcome.frame) == len(sent) + 4


def test_repeated_runs_are_timed_and_see_what_the_last_one_left(rig: Rig, program: int) -> None:
    rig.install(FLOW4)
    before = rig.traffic(FLOW4)[0].packets
    outcome = run(program, bytes(upstream(FLOW4)), repeat=50)
    assert outcome.ns_per_run >= 0
    assert rig.traffic(FLOW4)[0].packets == before + 1, "after the first it is no longer the client's"


def test_less_than_an_ethernet_header_is_refused(program: int) -> None:
    with pytest.raises(MapError, match="cannot test-run the program on 13 bytes"):
        run(program, bytes(13))

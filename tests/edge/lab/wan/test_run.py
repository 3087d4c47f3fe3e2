"""The real thing: the kernel's packets through two TUN devices and the process."""

from __future__ import annotations

import os
import signal
import socket
import stat
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from core.compare import percentile
from core.errors import UnavailableError
from ebpf.net import netns
from ebpf.net.netns import Wiring
from edge.lab.wan.control import DirectionState
from edge.lab.wan.delay import Conditions
from edge.lab.wan.links import Wan
from tests.edge.lab.wan.kit import INTERFACE, LINK, PATIENCE_S, SO_TIMESTAMPNS, Rig, links, rig

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes network namespaces"),
]

SEED = 7
PACKETS = 2000


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Rig]:
    with rig(tmp_path, Conditions(5), SEED) as it:
        yield it


def until(made: Rig, wanted: Callable[[DirectionState], bool]) -> DirectionState:
    """The state of the way from here to there, once it is as wanted."""
    deadline = time.monotonic() + PATIENCE_S
    while not wanted(state := made.control.state()[LINK]["here"]):
        assert time.monotonic() < deadline, state
    return state


@pytest.mark.parametrize("version", [4, 6])
def test_packets_come_after_their_delay_in_order_and_none_is_lost(
    version: int, tmp_path: Path, say: Callable[[str], None]
) -> None:
    delay_ms = 12.5
    late_us = []
    with (
        rig(tmp_path, Conditions(delay_ms), SEED, version) as made,
        made.socket(0) as here,
        made.socket(1) as there,
    ):
        there.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        for number in range(PACKETS):
            here.sendto(struct.pack("=QI", time.time_ns(), number), there.getsockname())
        for number in range(PACKETS):
            packet, control, _, _ = there.recvmsg(64, 128)
            sent_ns, told = struct.unpack("=QI", packet)
            assert told == number
            s, ns = struct.unpack("=qq", control[0][2])
            late_us.append((s * 1_000_000_000 + ns - sent_ns) / 1e3 - delay_ms * 1e3)
        states = made.control.state()[LINK]
    assert states["here"].counts.delivered == states["here"].counts.offered >= PACKETS
    assert states["here"].unread == 0
    p50, p99 = (percentile(late_us, percent) for percent in (50, 99))
    say(f"{PACKETS} packets at once are late by p50 {p50:.0f} µs, p99 {p99:.0f} µs")
    assert min(late_us) >= 0


def test_the_packets_that_are_lost_are_those_that_the_seed_says(made: Rig, tmp_path: Path) -> None:
    conditions = Conditions(2, 3, 0.1, 4)
    made.control.set(LINK, jitter_ms=3, delay_ms=2, loss=0.1, burst=4)
    with made.socket(0) as here, made.socket(1) as there:
        for number in range(PACKETS):
            here.sendto(number.to_bytes(2, "big"), there.getsockname())
        counts = until(made, lambda state: state.queued == 0 and state.counts.offered == PACKETS).counts
        there.settimeout(0)
        came: list[int] = []
        while len(came) < counts.delivered:
            came.append(int.from_bytes(there.recv(64), "big"))
        with pytest.raises(BlockingIOError):
            there.recv(64)
    model = Wan(links(made.namespaces, conditions), SEED).directions[0].line
    for number in range(PACKETS):
        model.offer(number.to_bytes(2, "big"), number)
    assert came == [int.from_bytes(packet, "big") for packet in model.take_due(1 << 62)]
    assert counts.lost == model.counts.lost > 0


def test_a_link_is_cut_in_one_direction_and_restored(made: Rig) -> None:
    with made.socket(0) as here, made.socket(1) as there:
        made.control.cut(LINK, sender="here")
        here.sendto(b"cut", there.getsockname())
        until(made, lambda state: state.is_cut and state.counts.cut >= 1)
        there.sendto(b"back", here.getsockname())
        assert here.recv(64) == b"back"
        made.control.restore(LINK)
        here.sendto(b"again", there.getsockname())
        assert there.recv(64) == b"again"


def test_what_waits_for_long_is_lost_by_a_cut(made: Rig) -> None:
    made.control.set(LINK, delay_ms=60_000)
    with made.socket(0) as here, made.socket(1) as there:
        here.sendto(b"x", there.getsockname())
        until(made, lambda state: state.queued == 1)
        made.control.cut(LINK)
        state = until(made, lambda state: state.queued == 0)
    assert state.counts.cut == 1


def test_an_interface_that_is_down_refuses_and_takes_again_when_it_is_up(made: Rig) -> None:
    with made.socket(0) as here, made.socket(1) as there:
        with Wiring(made.namespaces[1]) as wiring:
            wiring.down(INTERFACE)
            here.sendto(b"x", ("192.0.2.2", 9))
            until(made, lambda state: state.counts.refused >= 1)
            wiring.up(INTERFACE)
        here.sendto(b"again", there.getsockname())
        assert there.recv(64) == b"again"
    assert made.child.text() == ""


def test_an_end_that_is_removed_is_named_and_the_rest_goes_on(made: Rig) -> None:
    with Wiring(made.namespaces[1]) as wiring:
        wiring.delete(INTERFACE)
    with made.socket(0) as here:
        here.sendto(b"x", ("192.0.2.2", 9))
    until(made, lambda state: state.counts.refused >= 1)
    assert f"{INTERFACE} in {made.namespaces[1]} is gone" in made.child.text()
    netns.remove(made.namespaces[1])
    assert made.control.state()[LINK]["there"].unread == 0
    assert made.child.popen.poll() is None


def test_only_its_owner_may_tell_it_things_and_it_bears_those_who_say_nothing(
    made: Rig, tmp_path: Path
) -> None:
    assert stat.S_IMODE((tmp_path / "wan.sock").stat().st_mode) == 0o600
    with pytest.raises(UnavailableError, match="there is no link nowhere"):
        made.control.cut("nowhere")
    silent = [socket.socket(socket.AF_UNIX) for _ in range(12)]
    for each in silent:
        each.connect(str(tmp_path / "wan.sock"))
    with pytest.raises(UnavailableError):
        made.control.state()  # there are as many as it has room for
    silent[0].send(b"x" * 100_000)  # no line
    for each in silent:
        each.close()
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            assert LINK in made.control.state()
            break
        except UnavailableError:
            assert time.monotonic() < deadline


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_when_told(made: Rig, number: signal.Signals) -> None:
    made.child.popen.send_signal(number)
    assert made.child.popen.wait(PATIENCE_S) == 0
    assert made.child.text() == ""

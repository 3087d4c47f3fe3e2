"""Real BIRDs that speak to each other, and what their kernels route by it."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ebpf.net import tun
from ebpf.net.netns import Wiring
from edge.lab.bird.config import render_router
from edge.lab.bird.control import BirdControl
from edge.lab.bird.replies import BfdSession, BirdError, NextHop
from tests.edge.lab.bird.kit import BACKBONE, CLIENTS, UP, VIPS, Scene, router, scene
from tests.processes import end

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes network namespaces"),
    pytest.mark.skipif(shutil.which("bird") is None, reason="needs BIRD"),
]

GATEWAYS = {4: {"10.1.1.2", "10.1.1.3"}, 6: {"fd00:1:1::2", "fd00:1:1::3"}}


@pytest.fixture
def pop(tmp_path: Path) -> Iterator[Scene]:
    """A PoP of two hosts that announce."""
    with scene(tmp_path, hosts=2) as made:
        for number in (1, 2):
            announce(made, number)
        for version, vip in zip((4, 6), VIPS, strict=True):
            made.until(lambda version=version, vip=vip: made.next_hops("pop", vip) == GATEWAYS[version])  # type: ignore[misc]
        made.until(lambda: all(made.next_hops("city", vip) for vip in VIPS))
        yield made


def announce(made: Scene, number: int) -> None:
    tun.create(made.namespace(f"host{number}"), UP)
    with Wiring(made.namespace(f"host{number}")) as wiring:
        wiring.up(UP)


def test_prefixes_go_their_ways_and_no_further(pop: Scene) -> None:
    """Both families, over link-local neighbours in the WAN; spread over the hosts; the city is no way out."""
    for version in (4, 6):
        known = {route.prefix: route for route in pop.control("city").routes(version)}
        index = version == 6
        assert set(known) == {VIPS[index], BACKBONE[index], CLIENTS[index]}
        assert known[VIPS[index]].next_hops == (NextHop("fe80::1", "wan0"),)
        assert pop.next_hops("host1", "default") == {"10.1.1.1"}
    pop.until(lambda: all(pop.next_hops("pop", prefix) == {"fe80::2"} for prefix in CLIENTS))
    assert pop.next_hops("pop", "10.1.1.128/32") == {"10.1.1.2"}, "what transceivers answer to is one host's"
    assert pop.announcers(VIPS[0]) == {"host1_4", "host2_4"}
    assert not any(route.protocol == "router_4" for route in pop.control("host1").routes(4)
                   if route.prefix != "0.0.0.0/0")  # fmt: skip


def test_every_session_has_bfd(pop: Scene) -> None:
    pop.until(lambda: all(session.is_up for session in pop.control("pop").bfd_sessions()))
    sessions = set(pop.control("pop").bfd_sessions())
    assert {BfdSession(address, "lan0", True) for address in GATEWAYS[4] | GATEWAYS[6]} <= sessions
    assert BfdSession("fe80::2", "wan0", True) in sessions


def test_a_protocol_is_switched_off_and_on(pop: Scene) -> None:
    control = pop.control("host1")
    control.disable("while_up4")
    pop.until(lambda: pop.next_hops("pop", VIPS[0]) == {"10.1.1.3"})
    assert not control.protocols()["while_up4"].is_up
    assert pop.next_hops("pop", VIPS[1]) == GATEWAYS[6]
    control.enable("while_up4")
    pop.until(lambda: pop.next_hops("pop", VIPS[0]) == GATEWAYS[4])


def test_a_prefix_is_withheld_from_others_and_sessions_stay(pop: Scene) -> None:
    since = "show protocols city"
    before = pop.control("pop").ask(since)
    pop.write("pop", render_router(router(hosts=2, withheld=(VIPS[0],))))
    pop.control("pop").configure()
    pop.until(lambda: not pop.next_hops("city", VIPS[0]))
    assert pop.next_hops("city", VIPS[1])
    assert pop.next_hops("pop", VIPS[0]) == GATEWAYS[4]
    pop.write("pop", render_router(router(hosts=2)))
    pop.control("pop").configure()
    pop.until(lambda: bool(pop.next_hops("city", VIPS[0])))
    assert pop.control("pop").ask(since) == before


def test_a_host_that_vanishes_is_gone_by_bfd(pop: Scene, say: Callable[[str], None]) -> None:
    """No carrier tells its router: the bridge stays up."""
    with Wiring(pop.namespace("pop")) as wiring:
        wiring.down("port1")
    took_s = pop.until(lambda: pop.next_hops("pop", VIPS[0]) == {"10.1.1.3"})
    say(f"BFD of 300 ms × 3 took {took_s:.2f} s")
    assert BfdSession("10.1.1.2", "lan0", True) not in pop.control("pop").bfd_sessions()
    with Wiring(pop.namespace("pop")) as wiring:
        wiring.up("port1")
    pop.until(lambda: pop.next_hops("pop", VIPS[0]) == GATEWAYS[4])


def test_a_configuration_with_a_fault_is_refused_and_the_old_one_stays(pop: Scene) -> None:
    pop.write("pop", "router id")
    with pytest.raises(BirdError, match="syntax error"):
        pop.control("pop").configure()
    assert pop.control("pop").protocols()["city"].info == "Established"


def test_what_cannot_be_asked_is_told(pop: Scene, tmp_path: Path) -> None:
    with pytest.raises(BirdError, match="no name of a protocol"):
        pop.control("pop").disable("all; down")
    with pytest.raises(BirdError, match="BIRD: "):
        pop.control("pop").enable("nobody")
    with pytest.raises(BirdError, match="does not answer"):
        BirdControl(tmp_path / "none.sock").protocols()
    end(pop.birds["host1"], signal.SIGKILL)
    with pytest.raises(BirdError, match="does not answer"):
        pop.control("host1").routes(4)

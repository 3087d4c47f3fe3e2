"""A PoP with two uplinks under live flows: both carry, and what one carried moves when it is cut."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from core.addr import IpFamily
from ebpf.layout import DOWNSTREAM, UPSTREAM
from tests.edge.kit import MEDIA, eventually, request
from tests.edge.uplinks_scene import UPLINKS, Uplinks
from tests.edge.xdp_scene import VIPS, Call, Pop, arrives_up, carried, verdict

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes network namespaces"),
]

CALLS = 12
"""Of each family: that all of them take one leg happens once in 2,048 runs of other ports."""
FORWARDERS = ["xdp", "userspace"]
Say = Callable[[str], None]


@contextmanager
def running(
    directory: Path, forwarder: str, before: Callable[[Uplinks], None] | None = None
) -> Iterator[Pop]:
    scene = Uplinks(directory)
    with scene:
        if before is not None:
            before(scene)
        with Pop(scene, dataplane={"interfaces": list(UPLINKS)}, forwarder=forwarder) as pop:
            if forwarder == "xdp":
                pop.succeed("dataplane", "run")
            pop.start()
            yield pop


@pytest.fixture(params=FORWARDERS)
def pop(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Pop]:
    with running(tmp_path, request.param) as started:
        yield started


def scene_of(pop: Pop) -> Uplinks:
    """Which this is in these tests."""
    assert isinstance(pop.scene, Uplinks)
    return pop.scene


def begin(pop: Pop) -> list[Call]:
    return [Call(pop, index).begin() for _ in range(CALLS) for index in range(len(VIPS))]


def begin_patiently(call: Call) -> Call:
    """With more than one check, as of clients: the kernel sends the first one of a flow, and may learn a
    second later than the relay that a link is down.
    """

    def has_arrived() -> bool:
        call.client.send(request(call.ufrag), call.vip)
        try:
            _, call.nat = call.transceiver.receive(0.2)
        except TimeoutError:
            return False
        return True

    eventually(has_arrived, "a check arrives")
    return call


def sent(pop: Pop) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    """[uplink, towards clients or transceivers] packets so far."""
    return np.array([scene_of(pop).sent_to(number) for number in range(2)])


def all_go_on(calls: list[Call]) -> None:
    """Some packets may have been lost; then all calls are there, and nothing is lost any more."""
    for call in calls:
        eventually(partial(arrives_up, call), "packets of the call come to the transceiver again")
        eventually(call._is_answered, "and to the client")
    for call in calls:
        while not (call.client.is_silent() and call.transceiver.is_silent()):
            (call.transceiver if call.client.is_silent() else call.client).receive()
    for call in calls:
        call.exchange(3)


def takes_no(pop: Pop, calls: list[Call], number: int) -> bool:
    """Whether packets of calls, all of which arrive, take none of a router's links."""
    before = sent(pop)
    for call in calls:
        call.exchange(3)
    counts = (sent(pop) - before).sum(axis=1)
    assert counts.sum() == 2 * 3 * len(calls)
    return bool(counts[number] == 0)


def legs_of_records(pop: Pop) -> list[set[int]]:
    """The next hops that records have, upstream and downstream, of both families."""
    tables = pop.scene.tables()
    found = []
    for way in (UPSTREAM, DOWNSTREAM):
        hops = [tables.nexthops(family, tables.live(family))[way] for family in IpFamily]
        found.append(set(np.concatenate(hops).tolist()))
    tables.close()
    return found


def test_both_uplinks_carry_both_ways(pop: Pop) -> None:
    calls = begin(pop)
    before = sent(pop)
    for call in calls:
        call.exchange(5)
    counts = sent(pop) - before
    assert (counts > 0).all(), counts
    assert counts.sum() == 2 * 5 * len(calls)
    if pop.relay["forwarder"] == "xdp":
        assert (counts % 5 == 0).all(), "each flow takes one leg"
        assert (counts[:, 0] == counts[:, 1]).all(), "both ways of it the same one"
        assert [len(hops) for hops in legs_of_records(pop)] == [4, 4], "two routers of each family"
        assert carried(pop, "fast") >= 5 * len(calls)


@pytest.mark.parametrize("how", ["the link goes down", "the route is replaced"])
def test_when_one_is_cut_its_flows_move_to_the_other(pop: Pop, how: str) -> None:
    scene = scene_of(pop)
    calls = begin(pop)
    for call in calls:
        call.exchange()
    if how == "the link goes down":
        scene.cut(0)
    if how != "the link goes down" or pop.relay["forwarder"] == "userspace":
        # Of a link that is down alone, the kernel tells no socket that has an IPv6 route already.
        scene.use(scene.pop, (1,))
    for namespace in (scene.client, scene.region):  # of whose side this is not about
        scene.use(namespace, (1,))
    all_go_on(calls)
    eventually(lambda: takes_no(pop, calls, 0), "all of them have moved")
    before = sent(pop)
    others = [begin_patiently(Call(pop, index)) for index in range(len(VIPS))]
    assert (sent(pop) - before)[0].sum() == 0, "new ones do not go there either"
    if how == "the link goes down":
        scene.mend(0)
    for namespace in (scene.pop, scene.client, scene.region):
        scene.use(namespace, (0, 1))
    all_go_on([*calls, *others])

    def both_carry() -> bool:
        before = sent(pop)
        for call in calls:
            call.exchange()
        return bool(((sent(pop) - before) > 0).all())

    eventually(both_carry, "a share comes back")


def test_a_router_that_dies_in_silence_is_left_for_the_other(tmp_path: Path) -> None:
    """Neither link nor routing daemon tells of it: nobody answers for its address any more."""
    with running(tmp_path, "xdp") as pop:
        scene = scene_of(pop)
        calls = begin(pop)
        for namespace in (scene.client, scene.region):
            scene.use(namespace, (1,))
        scene.mute(0)
        eventually(lambda: max(map(len, legs_of_records(pop))) == 2, "no flow goes by the dead router")
        for call in calls:
            call.exchange(3)


def test_weights_are_respected(tmp_path: Path) -> None:
    with running(tmp_path, "xdp", lambda scene: scene.use(scene.pop, (0, 1), (1, 30))) as pop:
        calls = begin(pop)
        before = sent(pop)
        for call in calls:
            call.exchange()
        counts = (sent(pop) - before).sum(axis=1)
        assert counts[1] > 3 * counts[0], counts


@pytest.mark.parametrize("compat", [True, False], ids=["told twice", "told as objects alone"])
def test_a_group_of_nexthop_objects_is_followed(tmp_path: Path, compat: bool) -> None:
    """As some routing daemons install routes: a change of the group changes no route."""
    with running(tmp_path, "xdp", lambda scene: scene.use_objects(compat=compat)) as pop:
        calls = begin(pop)
        assert [len(hops) for hops in legs_of_records(pop)] == [4, 4]
        scene = scene_of(pop)
        for namespace in (scene.client, scene.region):
            scene.use(namespace, (1,))
        for number in (40, 60):
            scene.ip(scene.pop, "nexthop", "replace", "id", str(number), "group", str(number + 1))
        all_go_on(calls)
        eventually(lambda: takes_no(pop, calls, 0), "all of them have moved")


def test_rules_by_source_are_followed(pop: Pop) -> None:
    """Each of our addresses has an uplink of its own, as with two providers; which then change places."""
    scene = scene_of(pop)
    calls = begin(pop)
    for to_clients, to_transceivers in ((0, 1), (1, 0)):
        scene.route_by_source(to_clients, to_transceivers)
        all_go_on(calls)

        def is_so(clients: int = to_clients, transceivers: int = to_transceivers) -> bool:
            before = sent(pop)
            for call in calls:
                call.exchange()
            counts = sent(pop) - before
            return bool(counts[clients, 0] == counts[transceivers, 1] == len(calls))

        eventually(is_so, "packets from VIPs and from backbone addresses take the uplinks of their tables")


def test_what_is_not_followed_is_said(tmp_path: Path) -> None:
    with running(tmp_path, "xdp") as pop:
        scene = scene_of(pop)
        scene.ip(scene.pop, "rule", "add", "pref", "9", "sport", "3478", "lookup", "100")
        pop.wait_for_log("not followed by the fast path: the IPv4 rule 9 chooses by sport 3478-3478")
        assert pop.samples()["fastpath_routing_unfollowed", "rule"] == 1
        scene.ip(scene.pop, "rule", "del", "pref", "9")
        eventually(
            lambda: pop.samples()["fastpath_routing_unfollowed", "rule"] == 0,
            "it is followed that it is gone",
        )


def test_how_long_flows_are_without_a_way(tmp_path: Path, say: Say) -> None:
    """From the change of the route to the first packet by the other leg, told and not judged."""
    with running(tmp_path, "xdp") as pop:
        scene = scene_of(pop)
        calls = begin(pop)
        for namespace in (scene.client, scene.region):
            scene.use(namespace, (1,))
        stop = threading.Event()

        def send() -> None:
            while not stop.wait(0.005):
                for call in calls:
                    call.client.send(MEDIA, call.vip)

        sender = threading.Thread(target=send)
        sender.start()
        try:
            began = time.monotonic()
            scene.use(scene.pop, (1,))
            eventually(lambda: max(map(len, legs_of_records(pop))) == 2, "records name no dead leg")
            taken_ms = (time.monotonic() - began) * 1e3
            say(f"{len(calls)} flows had moved {taken_ms:.0f} ms after the route changed")
        finally:
            stop.set()
            sender.join()
        assert verdict(pop, "drop_no_nexthop") == 0

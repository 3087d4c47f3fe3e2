"""The fast path with a store: flows of another host are taken up, and records outlive a relay's restart."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from core.store.keys import flow_key
from tests.edge.kit import MEDIA, eventually
from tests.edge.xdp_scene import Call, Pop, carried, running, verdict
from tests.redis_server import Server

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes network namespaces"),
]


@pytest.fixture
def pop(tmp_path: Path, redis: Server) -> Iterator[Pop]:
    """With a store that is reached by a Unix socket, which namespaces of networks do not part."""
    with running(tmp_path, store=f"unix://{redis.path}") as started:
        yield started


def key_of(call: Call) -> str:
    return flow_key(call.vip, call.client.address).decode()


def is_recorded(redis: Server, call: Call) -> bool:
    return redis.cli("EXISTS", key_of(call)) == "1"


def as_another_host(pop: Pop) -> None:
    """The same addresses without anything in the maps, as on the other host of a PoP."""
    pop.kill()
    pop.succeed("dataplane", "detach", "--unpin")
    pop.succeed("dataplane", "run")
    pop.start()


def test_media_of_a_flow_that_another_host_had_is_punted_once_and_carried_by_the_kernel_from_then_on(
    pop: Pop, redis: Server, say: Callable[[str], None]
) -> None:
    calls = [Call(pop, 0).begin(), Call(pop, 1).begin()]
    for call in calls:
        call.exchange(3)
        eventually(lambda each=call: is_recorded(redis, each), "the record is written")  # type: ignore[misc]
    as_another_host(pop)
    assert pop.summary()["flows"] == 0
    for call in calls:
        before = time.monotonic()
        call.client.send(MEDIA, call.vip)
        data, call.nat = call.transceiver.receive()
        assert data == MEDIA
        say(f"xdp: media restored its flow in {(time.monotonic() - before) * 1e3:.1f} ms")
        eventually(call._is_answered, "the way back works")
        call.exchange(20)
    assert pop.samples()["relay_recalls_total", "restored"] == 2
    assert pop.summary()["flows"] == 2
    assert carried(pop, "fast") >= 40
    assert verdict(pop, "punt_media") <= 2


def test_a_relay_that_restarts_renews_the_records_of_the_flows_that_it_finds(pop: Pop, redis: Server) -> None:
    """The records of the fast path have but a mark of the ufrag; the whole of it is kept beside them."""
    calls = [Call(pop, 0).begin(), Call(pop, 1).begin()]
    for call in calls:
        eventually(lambda each=call: is_recorded(redis, each), "the record is written")  # type: ignore[misc]
    pop.kill()
    redis.cli("FLUSHALL")
    pop.start()
    for call in calls:
        eventually(lambda each=call: is_recorded(redis, each), "it is written anew")  # type: ignore[misc]
        call.exchange()
    assert carried(pop, "slow") == 0


def test_without_a_store_there_is_no_map_of_ufrags_and_a_new_host_waits_for_the_check(
    tmp_path: Path,
) -> None:
    with running(tmp_path) as pop:
        call = Call(pop).begin()
        assert not (pop.scene.pins / "ufrags4").exists()
        as_another_host(pop)
        call.client.send(MEDIA, call.vip)
        eventually(lambda: pop.samples()["relay_refusals_total", "unknown_flow_media"] == 1, "it is dropped")
        assert call.transceiver.is_silent()
        call.begin().exchange()

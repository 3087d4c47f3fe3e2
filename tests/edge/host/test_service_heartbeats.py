"""What a real relay says of itself in the store."""

from __future__ import annotations

import signal
import time

from core.store.heartbeat import HeartbeatError, HostState, PopHeartbeat, decode_pop_untrusted
from core.store.keys import HostKind
from tests.edge.host.kit import HOST, OpenPeer, StartRelay, call
from tests.edge.kit import KEYRING, eventually
from tests.redis_server import Server

NAME = b"test:rack-1"


def said(redis: Server, name: bytes = NAME) -> PopHeartbeat | None:
    key = HostKind.POP.heartbeat_key(name)
    value = redis.cli("GET", key.decode()).encode()
    try:
        return decode_pop_untrusted(value, key, KEYRING, int(time.time() * 1000))
    except HeartbeatError:
        return None


def is_in(redis: Server, state: HostState) -> bool:
    heartbeat = said(redis)
    return heartbeat is not None and heartbeat.state is state


def test_a_relay_says_what_it_carries_and_that_it_drains_before_its_next_heartbeat_is_due(
    start: StartRelay, peer: OpenPeer, redis: Server
) -> None:
    relay = start(store=redis.url, host="rack-1", max_flows=100)
    eventually(lambda: is_in(redis, HostState.READY), "a heartbeat")
    first = said(redis)
    assert first is not None
    assert (first.taken, first.room, first.forwarder) == (0, 100, "userspace")
    assert (first.vips, first.place) == (tuple(relay.vips), None)
    assert redis.cli("ZRANGE", "voxpop:1:pop-hosts", "0", "-1") == "test:rack-1"
    call(peer(), peer(HOST), relay.vips[0])
    eventually(lambda: (said(redis) or first).taken == 1, "the flow is told of")
    told_ms = time.time() * 1000
    relay.signal(signal.SIGTERM)
    eventually(lambda: is_in(redis, HostState.DRAINING), "the drain is told of")
    drained = said(redis)
    assert drained is not None
    assert drained.at_ms - told_ms < 1500, "not with the next one"


def test_the_pop_of_its_own_file_says_where_it_is_and_what_clients_know_it_by(
    start: StartRelay, redis: Server
) -> None:
    """Where the way here translates addresses: what the relay listens on is nothing to compare."""
    table = '[[pop]]\nid = "test"\nvips = ["192.0.2.9:3478"]\nlatitude = 35.68\nlongitude = 139.69\n'
    relay = start(store=redis.url, host="rack-1", cluster=table)
    eventually(lambda: is_in(redis, HostState.READY), "a heartbeat")
    heartbeat = said(redis)
    assert heartbeat is not None
    assert heartbeat.place == (35.68, 139.69)
    assert [str(vip) for vip in heartbeat.vips] == ["192.0.2.9:3478"]
    assert "relay.vips are others than the vips of [[pop]] test" in relay.log_text()
    near = ("GEOSEARCH", "voxpop:1:pops", "FROMLONLAT", "135", "35", "BYRADIUS", "1000", "km", "ASC")
    assert redis.cli(*near) == "test"


def test_a_relay_whose_store_is_gone_says_so_and_is_heard_again_when_it_is_back(
    start: StartRelay, redis: Server
) -> None:
    relay = start(store=redis.url, host="rack-1")
    eventually(lambda: is_in(redis, HostState.READY), "a heartbeat")
    redis.stop()
    eventually(lambda: "for heartbeats: unreachable" in relay.log_text(), "it is told")
    assert relay.is_ready(), "a relay without its store is fit for calls"
    assert relay.summary()["store"] == {
        "where": f"redis at 127.0.0.1:{redis.port}", "state": "degraded", "reasons": ["unreachable"],
    }  # fmt: skip
    redis.start()
    eventually(lambda: is_in(redis, HostState.READY), "it is back")

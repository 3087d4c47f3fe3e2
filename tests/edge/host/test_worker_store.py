"""Workers with a store: a flow outlives its relay, and nothing that the store does stops a call."""

from __future__ import annotations

import time
from collections.abc import Callable

from core.addr import Endpoint
from core.store.flow_record import decode_untrusted
from core.store.keys import flow_key
from tests.edge.host.kit import HOST, OTHER_HOST, OpenPeer, StartRelay, call, echo, ufrag_for
from tests.edge.kit import KEYRING, MEDIA, Peer, RelayProcess, eventually, request
from tests.redis_server import Server


def key_of(vip: Endpoint, client: Peer) -> str:
    return flow_key(vip, client.address).decode()


def is_written(redis: Server, vip: Endpoint, client: Peer) -> bool:
    return redis.cli("EXISTS", key_of(vip, client)) == "1"


def again(relay: RelayProcess) -> None:
    """The relay dies at once, and another comes up at the same VIPs."""
    relay.__exit__()
    relay.start()


def test_media_of_a_flow_that_another_relay_had_is_carried_on_without_a_check(
    start: StartRelay, peer: OpenPeer, redis: Server, say: Callable[[str], None]
) -> None:
    relay = start(store=redis.url, workers=2)
    vip = relay.vips[0]
    calls = [(peer(), peer(host)) for host in (HOST, OTHER_HOST)]
    ufrags = [ufrag_for(transceiver) for _, transceiver in calls]
    for (client, transceiver), ufrag in zip(calls, ufrags, strict=True):
        call(client, transceiver, vip, ufrag)
    eventually(lambda: all(is_written(redis, vip, client) for client, _ in calls), "records are written")
    value = redis.cli("GET", key_of(vip, calls[0][0])).encode()
    record = decode_untrusted(value, vip, calls[0][0].address, KEYRING, int(time.time()))
    assert record.ufrag == ufrags[0]
    again(relay)
    assert relay.flows() == 0
    for client, transceiver in calls:
        before = time.monotonic()
        client.send(MEDIA, vip)
        data, path = transceiver.receive()
        assert data == MEDIA
        say(f"userspace: media restored its flow in {(time.monotonic() - before) * 1e3:.1f} ms")
        echo(client, transceiver, vip, path)
    assert relay.flows() == 2
    assert relay.counter("recalls_total", "restored") == 2
    assert relay.counter("refusals_total", "unknown_flow_media") == 0
    assert relay.summary()["store"] == {"where": f"redis at 127.0.0.1:{redis.port}", "state": "well"}


def test_calls_are_set_up_and_carried_without_the_store_and_the_status_says_so(
    start: StartRelay, peer: OpenPeer, redis: Server
) -> None:
    relay = start(store=redis.url)
    vip, transceiver = relay.vips[0], peer(HOST)
    first, second = peer(), peer()
    path = call(first, transceiver, vip)
    redis.stop()
    call(second, transceiver, vip)
    echo(first, transceiver, vip, path)
    eventually(
        lambda: (
            relay.summary()["store"]
            == {"where": f"redis at 127.0.0.1:{redis.port}", "state": "degraded", "reasons": ["unreachable"]}
        ),
        "the trouble is told",
    )
    assert relay.is_ready(), "a relay without its store is fit for calls"
    redis.start()
    eventually(lambda: relay.counter("lease_writes_total", "written") >= 2, "records are written again")
    eventually(lambda: is_written(redis, vip, first) and is_written(redis, vip, second), "of both")
    told = [line for line in relay.log_text().splitlines() if "the store is degraded" in line]
    assert len([line for line in told if "for heartbeats" not in line]) == 1
    assert len(told) <= 2, "of the worker, and of the supervisor's heartbeats"
    again(relay)
    first.send(MEDIA, vip)
    assert transceiver.receive()[0] == MEDIA


def test_calls_are_set_up_whatever_the_store_does(start: StartRelay, peer: OpenPeer, redis: Server) -> None:
    """At 20 a second all the while. How long that takes is measured by `make bench ONLY=setup`."""
    relay, transceiver = start(store=redis.url), peer(HOST)
    troubles: dict[str, Callable[[], object]] = {
        "well": lambda: None,
        "killed": redis.stop,
        "empty": redis.start,
        "slow": lambda: redis.cli("CLIENT", "PAUSE", "60000", "ALL"),
        "restarted": lambda: (redis.stop(), redis.start()),
        "full": lambda: redis.cli("CONFIG", "SET", "maxmemory", "1"),
        "wiped": lambda: (redis.cli("CONFIG", "SET", "maxmemory", "0"), redis.cli("FLUSHALL")),
        "read-only": lambda: redis.cli("REPLICAOF", "127.0.0.1", "1"),
        "locked": redis.lock,
    }
    for trouble in troubles.values():
        trouble()
        for _ in range(20):
            caller, check = peer(), request(ufrag_for(transceiver))
            caller.send(check, relay.vips[0])
            assert transceiver.receive()[0] == check
            time.sleep(1 / 20)
    assert relay.counter("flow_installs_total", "installed") == 20 * len(troubles)


def test_a_relay_starts_and_takes_calls_while_its_store_is_not_there(
    start: StartRelay, peer: OpenPeer, redis: Server
) -> None:
    redis.stop()
    relay = start(store=redis.url)
    client, transceiver = peer(), peer(HOST)
    call(client, transceiver, relay.vips[0])
    redis.start()
    eventually(lambda: is_written(redis, relay.vips[0], client), "the record is written")


def test_without_a_store_nothing_is_said_of_one(start: StartRelay) -> None:
    relay = start()
    assert "store" not in relay.summary()

"""Workers with a store: a flow outlives its relay, and nothing that the store does stops a call."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from core.addr import Endpoint
from core.store.flow_record import decode_untrusted
from core.store.keys import flow_key
from tests.edge.host.kit import HOST, OTHER_HOST, OpenPeer, StartRelay, call, echo, ufrag_for
from tests.edge.kit import KEYRING, MEDIA, Peer, RelayProcess, eventually
from tests.redis_server import Server, running

DTLS = b"\x16\xfe\xfd" + bytes(40)


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Server]:
    with running(Server(tmp_path / "redis")) as server:
        yield server


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
    calls = [(peer(host), peer(transceiver), relay.vips[vip]) for host, transceiver, vip in (
        ("127.0.0.1", HOST, 0), ("127.0.0.1", OTHER_HOST, 0), ("::1", "::1", 1),
    )]  # fmt: skip
    ufrags = {}
    for client, transceiver, vip in calls:
        ufrags[client] = ufrag_for(transceiver) if vip.host != "::1" else None
        if vip.host != "::1":
            call(client, transceiver, vip, ufrags[client])
    calls = calls[:2]
    for client, _, vip in calls:
        eventually(lambda c=client, v=vip: is_written(redis, v, c), "the record is written")
    value = redis.cli("GET", key_of(calls[0][2], calls[0][0])).encode()
    record = decode_untrusted(value, calls[0][2], calls[0][0].address, KEYRING, int(time.time()))
    assert record.ufrag == ufrags[calls[0][0]]
    again(relay)
    assert relay.flows() == 0
    for client, transceiver, vip in calls:
        before = time.monotonic()
        client.send(MEDIA, vip)
        data, path = transceiver.receive()
        assert data == MEDIA
        say(f"userspace: media restored its flow in {(time.monotonic() - before) * 1e3:.1f} ms")
        echo(client, transceiver, vip, path)
    assert relay.flows() == 2
    assert relay.counter("recalls_total", "restored") == 2
    assert relay.counter("refusals_total", "unknown_flow_media") == 0

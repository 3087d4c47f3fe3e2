"""The userspace forwarder behind a slow path: where packets go, whose they are, and what is counted."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from core.addr import Endpoint
from edge.relay.forwarder import Holder, VipIndex
from tests.edge.kit import (
    DTLS,
    MEDIA,
    Peer,
    eventually,
    mint_ufrag,
    request,
)
from tests.edge.relay.rig import (
    CLIENT,
    HOPELESS,
    IDLE_NS,
    OTHER_CLIENT,
    VIPS,
    Rig,
    open_rig,
    sockaddr,
)


@pytest.fixture
def rig() -> Iterator[Rig]:
    with open_rig() as opened:
        yield opened


def test_places_tell_whose_they_are(rig: Rig) -> None:
    ufrags = [rig.ufrag() for _ in range(2)]
    for client, ufrag in zip((CLIENT, OTHER_CLIENT), ufrags, strict=True):
        rig.take(request(ufrag), client)
    flows = [rig.find(client) for client in (CLIENT, OTHER_CLIENT)]
    assert None not in flows
    places = [rig.forwarder.place_of(flow) for flow in flows if flow is not None]
    assert rig.forwarder.live_places() == sorted(places) == [0, 1]
    for place, client, ufrag in zip(places, (CLIENT, OTHER_CLIENT), ufrags, strict=True):
        assert rig.forwarder.holder(place) == Holder(Endpoint(*client[:2]), VipIndex(0), ufrag)
    assert flows[0] is not None
    rig.forwarder.remove(flows[0], rig.now_ns)
    assert rig.forwarder.holder(places[0]) is None
    assert rig.forwarder.holder(99) is None
    assert rig.forwarder.live_places() == [places[1]]


def test_a_transceiver_sees_every_client_at_an_address_of_its_own(rig: Rig) -> None:
    sources = set()
    for client in (CLIENT, OTHER_CLIENT):
        for vip in range(VIPS):
            rig.take(request(rig.ufrag()), client, vip)
            sources.add(rig.transceivers[0].receive()[1])
    assert len(sources) == 4


def test_what_a_transceiver_sends_comes_from_the_vip_that_the_client_used(rig: Rig) -> None:
    client = Peer("127.0.0.1")
    for index, vip in enumerate(rig.vips):
        rig.take(request(rig.ufrag()), sockaddr(client), index)
        _, relay = rig.transceivers[0].receive()
        rig.transceivers[0].send(DTLS, relay)
        eventually(lambda: rig.forwarder.carry_downstream() or not client.is_silent(), "carried")
        assert client.receive() == (DTLS, vip.address)
    client.close()


def test_only_the_transceiver_can_send_to_a_client(rig: Rig) -> None:
    """The upstream sockets are connected: the kernel keeps everyone else out."""
    client, stranger = Peer("127.0.0.1"), Peer("127.77.0.9")
    rig.take(request(rig.ufrag()), sockaddr(client))
    _, relay = rig.transceivers[0].receive()
    stranger.send(MEDIA, relay)
    rig.transceivers[1].send(MEDIA, relay)
    rig.transceivers[0].send(DTLS, relay)
    eventually(lambda: rig.forwarder.carry_downstream() or not client.is_silent(), "carried")
    assert client.receive()[0] == DTLS
    assert client.is_silent()
    assert rig.get("received_packets", "downstream") == 1
    client.close()
    stranger.close()


def test_one_busy_flow_leaves_room_for_others(rig: Rig) -> None:
    busy, quiet = Peer("127.0.0.1"), Peer("127.0.0.1")
    paths = []
    for client in (busy, quiet):
        rig.take(request(rig.ufrag()), sockaddr(client))
        paths.append(rig.transceivers[0].receive()[1])
    for _ in range(100):
        rig.transceivers[0].send(MEDIA, paths[0])
    rig.transceivers[0].send(DTLS, paths[1])
    eventually(lambda: rig.forwarder.carry_downstream() or not quiet.is_silent(), "carried")
    assert rig.get("received_packets", "downstream") < 100
    eventually(
        lambda: rig.forwarder.carry_downstream() or rig.get("received_packets", "downstream") == 101, "rest"
    )
    busy.close()
    quiet.close()


def test_a_closed_port_is_counted_and_kills_nothing(rig: Rig) -> None:
    gone = Peer("127.77.0.3")
    ufrag = mint_ufrag(gone.address.port, host=3)
    gone.close()
    for _ in range(3):
        rig.take(request(ufrag), CLIENT)
        rig.forwarder.carry_downstream()
    assert rig.total("pending_errors") >= 2
    assert rig.get("pending_errors", "refused") == rig.total("pending_errors")
    assert rig.get("packets", "upstream", "forwarded") == 3
    back = Peer("127.77.0.3", gone.address.port)
    rig.take(MEDIA, CLIENT)
    assert back.receive()[0] == MEDIA
    back.close()


def test_a_datagram_too_big_to_send_is_a_counted_failure(rig: Rig) -> None:
    rig.take(request(rig.ufrag()), CLIENT)
    rig.take(bytes([0x80]) * 65508, CLIENT)
    assert rig.get("send_failures", "upstream", "too_big") == rig.get("packets", "upstream", "failed") == 1
    assert rig.get("bytes", "upstream", "failed") == 65508
    rig.take(MEDIA, CLIENT)
    assert rig.get("packets", "upstream", "forwarded") == 2


def test_a_client_that_cannot_be_reached_is_a_counted_failure(rig: Rig) -> None:
    rig.take(request(rig.ufrag()), ("255.255.255.255", 9))  # sending there needs SO_BROADCAST
    _, relay = rig.transceivers[0].receive()
    rig.transceivers[0].send(MEDIA, relay)
    eventually(
        lambda: rig.forwarder.carry_downstream() or rig.get("packets", "downstream", "failed") == 1, "failed"
    )
    assert rig.total("send_failures", "downstream") == 1
    assert rig.get("packets", "downstream", "forwarded") == 0


def test_packets_leave_no_reference_cycles(rig: Rig) -> None:
    """Workers run without the garbage collector."""
    gc.collect()
    gc.disable()
    try:
        for number in range(50):
            client = ("127.0.0.1", 100 + number)
            rig.take(request(rig.ufrag()), client)
            rig.take(request(rig.ufrag()), client)
            rig.take(MEDIA, client)
            for data, _ in HOPELESS.values():
                rig.take(data, client)
            rig.forwarder.carry_downstream()
            rig.now_ns += IDLE_NS + 1
            rig.sweep_all()
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_the_end_of_a_drain_ends_flows_that_were_heard_this_moment_and_no_others(rig: Rig) -> None:
    for client in (CLIENT, OTHER_CLIENT):
        rig.take(request(rig.ufrag()), client)
    rig.sweep_all()
    assert len(rig.forwarder) == 2
    rig.forwarder.is_expelling = True
    rig.sweep_all()
    assert len(rig.forwarder) == 0
    assert rig.get("removals", "drained") == 2
    rig.forwarder.is_expelling = False
    rig.take(request(rig.ufrag()), CLIENT)
    rig.sweep_all()
    assert len(rig.forwarder) == 1
    assert rig.get("removals", "idle") == 0

"""The fast path and the relay as processes, in namespaces: who carries what, and what outlives whom."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.addr import Endpoint
from tests.edge.kit import MEDIA, Peer, eventually, mint_ufrag, request
from tests.edge.xdp_scene import CLIENTS, TRANSCEIVERS, VIPS, Pop, running

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes network namespaces"),
]


@pytest.fixture
def pop(tmp_path: Path) -> Iterator[Pop]:
    with running(tmp_path) as started:
        yield started


class Call:
    """One client and its transceiver, in the IP family of VIP `index`."""

    def __init__(self, pop: Pop, index: int = 0) -> None:
        self.vip = VIPS[index]
        self.client = pop.scene.peer(pop.scene.client, CLIENTS[index])
        self.transceiver = pop.scene.peer(pop.scene.region, TRANSCEIVERS[index])
        self.ufrag = mint_ufrag(self.transceiver.address.port, host=1)
        self.nat: Endpoint | None = None

    def begin(self) -> Call:
        """The first check, up to the first answer; which may have to be sent again while the PoP learns who
        is on its links."""
        check = request(self.ufrag)
        self.client.send(check, self.vip)
        received, self.nat = self.transceiver.receive()
        assert received == check
        eventually(self._is_answered, "the transceiver's answer arrives")
        return self

    def _is_answered(self) -> bool:
        assert self.nat is not None
        self.transceiver.send(b"answer", self.nat)
        try:
            data, source = self.client.receive(0.05)
        except TimeoutError:
            return False
        assert source == self.vip
        return data == b"answer"

    def exchange(self, count: int = 1) -> None:
        """Media both ways; every packet arrives, from the right address."""
        assert self.nat is not None
        for number in range(count):
            up, down = MEDIA + number.to_bytes(4, "big"), MEDIA[::-1] + number.to_bytes(4, "big")
            self.client.send(up, self.vip)
            assert self.transceiver.receive() == (up, self.nat)
            self.transceiver.send(down, self.nat)
            assert self.client.receive() == (down, self.vip)


def carried(pop: Pop, path: str) -> int:
    return pop.samples()["relay_carried_packets_total", "upstream", path]


@pytest.mark.parametrize("index", [0, 1], ids=["ipv4", "ipv6"])
def test_the_first_packet_goes_by_the_relay_and_the_rest_by_xdp(pop: Pop, index: int) -> None:
    call = Call(pop, index).begin()
    call.exchange(50)
    assert pop.summary()["forwarder"] == "xdp"
    assert pop.summary()["flows"] == 1

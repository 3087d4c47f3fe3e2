"""Packets with many sources: what they look like to the kernel, and how fast they go."""

from __future__ import annotations

import os
import socket
from collections import Counter

import pytest

from core.addr import Endpoint
from ebpf.net import netns
from ebpf.net.netns import Wiring
from edge.lab.drills.flood import RTP, Flood, datagram
from tests.builders import ones_sum

HERE, AT = "198.51.100.1", Endpoint("198.51.100.1", 3478)
CLIENTS = [Endpoint(f"100.64.0.{n}", 5000 + n) for n in range(1, 201)]


@pytest.mark.parametrize("payload", [RTP, b"odd", b""])
def test_its_checksums_are_right(payload: bytes) -> None:
    packet = datagram(Endpoint("100.64.1.2", 5000), AT, payload)
    assert ones_sum(packet[:20]) == 0xFFFF
    udp = packet[20:]
    pseudo = packet[12:20] + bytes((0, socket.IPPROTO_UDP)) + len(udp).to_bytes(2, "big")
    assert ones_sum(pseudo + udp) == 0xFFFF
    assert udp[8:] == payload


@pytest.mark.netns
def test_every_client_is_heard_and_again_in_the_next_round() -> None:
    namespace = f"vpf-{os.getpid()}"
    netns.create(namespace)
    try:
        with Wiring(namespace) as wiring:
            wiring.address("lo", f"{HERE}/32")
            wiring.up("lo")
        with netns.inside(namespace):
            receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            receiver.bind((HERE, AT.port))
            flood = Flood([datagram(client, AT) for client in CLIENTS], AT, 0.05)
        receiver.settimeout(10)
        heard: Counter[Endpoint] = Counter()
        with receiver, flood:
            while len(heard) < len(CLIENTS) or min(heard.values()) < 2:
                data, source = receiver.recvfrom(2048)
                assert data == RTP
                heard[Endpoint(*source[:2])] += 1
        assert set(heard) == set(CLIENTS)
        assert flood.sent >= 2 * len(CLIENTS)
    finally:
        netns.remove(namespace)

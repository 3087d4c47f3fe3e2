"""What scanners and noise get from a VIP: nothing, by capture of all that leaves the PoP for clients."""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ebpf.net import netns
from tests.edge.xdp_scene import CLIENTS, VIPS, Call, running

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes network namespaces"),
]

PACKETS = int(os.environ.get("SILENCE_PACKETS", "4000"))
"""Of noise, by family and forwarder. A million of them were sent too."""
ETH_P_ALL, SO_RCVBUFFORCE = 0x0003, 33
"""Of linux/if_ether.h and asm/socket.h, which the socket module lacks."""
UDP, ICMP, ICMP6 = 17, 1, 58
UNREACHABLE, UNREACHABLE6 = 3, 1


SHADOWSERVER = bytes.fromhex("000100002112a442") + b"transaction!"
"""A binding request of 20 bytes: a header without attributes, as the scan for STUN services sends it."""


def noise(count: int) -> Iterator[bytes]:
    """Random bytes of random lengths; half of them behind what looks like a request."""
    draw = random.Random(14)
    for number in range(count):
        body = draw.randbytes(draw.choice((0, 1, 4, 20, 28, 100, 500, 1400)))
        yield body if number % 2 else SHADOWSERVER[:8] + body


@contextmanager
def capture(namespace: str, interface: str) -> Iterator[socket.socket]:
    """Every frame that comes to an interface or leaves it."""
    with netns.inside(namespace):
        opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    with opened:
        opened.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
        opened.bind((interface, 0))
        yield opened


def answers(opened: socket.socket) -> list[bytes]:
    """What came from a VIP, or says that something did not get there."""
    found: list[bytes] = []
    vips = [
        socket.inet_pton(socket.AF_INET6 if ":" in vip.host else socket.AF_INET, vip.host) for vip in VIPS
    ]
    opened.setblocking(False)
    while True:
        try:
            frame, (_, _, kind, *_) = opened.recvfrom(2048)
        except BlockingIOError:
            return found
        if kind == socket.PACKET_OUTGOING:
            continue
        ethertype, packet = frame[12:14], frame[14:]
        if ethertype == b"\x08\x00":
            is_answer = packet[12:16] == vips[0] or (packet[9], packet[20]) == (ICMP, UNREACHABLE)
        else:
            is_answer = ethertype == b"\x86\xdd" and (
                packet[8:24] == vips[1] or (packet[6], packet[40]) == (ICMP6, UNREACHABLE6)
            )
        if is_answer:
            found.append(packet)


@pytest.mark.parametrize("forwarder", ["xdp", "userspace"])
def test_probes_and_noise_get_no_byte(tmp_path: Path, forwarder: str) -> None:
    with running(tmp_path, forwarder=forwarder) as pop:
        scene = pop.scene
        if forwarder == "userspace":
            pop.succeed("dataplane", "detach")
        with capture(scene.client, "c0") as opened:
            for host, vip in zip(CLIENTS, VIPS, strict=True):
                stranger = scene.peer(scene.client, host)
                for payload in (SHADOWSERVER, *noise(PACKETS)):
                    stranger.send(payload, vip)
            assert answers(opened) == []
            # That all of it was seen, and what an answer looks like, a call shows that comes after it.
            Call(pop).begin()
            assert answers(opened) != []
        refused = sum(
            count
            for (name, *labels), count in pop.samples().items()
            if (
                name == "relay_refusals_total"
                or (name == "fastpath_packets_total" and labels[1].startswith("drop_"))
            )
        )
        assert refused > PACKETS

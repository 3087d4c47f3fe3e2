"""TUN devices, by the kernel's own word for them."""

from __future__ import annotations

import os
import select
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from ebpf.errors import DataplaneError
from ebpf.net import netns, tun
from ebpf.net.attach import Netdev
from ebpf.net.netns import Wiring
from tests.builders import ones_sum

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes network namespaces"),
]


PATIENCE_S = 10.0


@pytest.fixture
def name() -> Iterator[str]:
    chosen = f"voxpop-n{os.getpid()}-t"
    netns.create(chosen)
    yield chosen
    netns.remove(chosen)


def interfaces(name: str) -> set[str]:
    with Netdev(name) as netdev:
        return {link.name for link in netdev.links()} - {"lo"}


def test_a_device_ends_with_its_file_and_a_created_one_stays(name: str) -> None:
    opened = tun.open_device(name, "tun0")
    assert interfaces(name) == {"tun0"}
    os.close(opened)
    assert interfaces(name) == set()
    tun.create(name, "tun1")
    os.close(tun.open_device(name, "tun1"))
    assert interfaces(name) == {"tun1"}


@contextmanager
def up(name: str) -> Iterator[tuple[int, socket.socket]]:
    """A device's file, and a socket that sends through the device."""
    opened = tun.open_device(name, "tun0")
    try:
        with Wiring(name) as wiring:
            wiring.up("tun0")
            wiring.address("tun0", "192.0.2.1/24")
        with netns.inside(name):
            sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with sender:
            sender.bind(("192.0.2.1", 0))
            sender.settimeout(PATIENCE_S)
            yield opened, sender
    finally:
        os.close(opened)


def next_packet(opened: int) -> bytes:
    """The next IPv4 packet: IPv6 speaks of itself on every interface."""
    poller = select.poll()
    poller.register(opened, select.POLLIN)
    while True:
        assert poller.poll(PATIENCE_S * 1000)
        packet = os.read(opened, 2048)
        if packet[0] >> 4 == 4:
            return packet


def test_what_is_sent_is_read_whole_and_what_is_written_arrives(name: str) -> None:
    with up(name) as (opened, sender):
        sender.sendto(b"hear this!", ("192.0.2.9", 7))
        packet = next_packet(opened)
        source, target, udp = packet[12:16], packet[16:20], packet[20:]
        assert (socket.inet_ntoa(source), socket.inet_ntoa(target)) == ("192.0.2.1", "192.0.2.9")
        assert udp[8:] == b"hear this!"
        pseudo_header = packet[12:20] + struct.pack("!HH", socket.IPPROTO_UDP, len(udp))
        assert ones_sum(packet[:20]) == ones_sum(pseudo_header + udp) == 0xFFFF, (
            "no checksum is left to others"
        )
        # Whoever swaps both ends of both kinds changes no sum.
        os.write(opened, packet[:12] + target + source + udp[2:4] + udp[0:2] + udp[4:])
        assert sender.recvfrom(64) == (b"hear this!", ("192.0.2.9", 7))


def test_what_nobody_reads_is_counted(name: str) -> None:
    with up(name) as (opened, sender):
        assert tun.dropped(name, "tun0") == 0
        for _ in range(tun.QUEUE_PACKETS + 100):
            sender.sendto(b"x", ("192.0.2.9", 7))
        assert 100 <= tun.dropped(name, "tun0") <= 110, "but for what IPv6 had to say"
        next_packet(opened)
    assert tun.dropped(name, "tun0") == 0


def test_a_device_is_one_processs_at_a_time(name: str) -> None:
    opened = tun.open_device(name, "tun0")
    with pytest.raises(DataplaneError, match=rf"TUN device tun0 in {name}: .*busy"):
        tun.open_device(name, "tun0")
    os.close(opened)

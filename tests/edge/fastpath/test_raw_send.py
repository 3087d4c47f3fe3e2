"""Datagrams with headers of our own, compared with those of the tests' own builder, and as received."""

from __future__ import annotations

import os
import socket

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from core.addr import Endpoint, pack_address
from edge.fastpath.raw_send import RawSender, udp_datagram
from tests.builders import UdpFrame
from tests.edge.kit import Peer

V4, V6 = (Endpoint("192.0.2.1", 20001), Endpoint("10.1.2.3", 40000)), (
    Endpoint("2001:db8::1", 20001), Endpoint("2001:db8:1::3", 40000),
)  # fmt: skip


@given(st.binary(max_size=1500), st.sampled_from([V4, V6]))
@example(b"", V4)
@example(b"\xff" * 41, V6)
def test_checksums_are_right(payload: bytes, ends: tuple[Endpoint, Endpoint]) -> None:
    source, to = ends
    made = udp_datagram(pack_address(source.host), source.port, pack_address(to.host), to.port, payload)
    headers = 14 + (20 if ends is V4 else 40)
    assert made == bytes(UdpFrame(source, to, payload))[headers:]


def test_a_sum_of_zero_is_sent_as_ffff() -> None:
    """Zero would mean that there is no checksum (RFC 768), and in IPv6 is an error (RFC 8200 §8.1)."""
    source, to = V4
    ends = pack_address(source.host), source.port, pack_address(to.host), to.port
    whole = udp_datagram(*ends, bytes(2))
    filler = whole[6:8]
    made = udp_datagram(*ends, filler)
    assert made[6:8] == b"\xff\xff"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: raw sockets")
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_it_arrives_from_a_port_that_nobody_has(host: str) -> None:
    receiver, sender = Peer(host), RawSender()
    try:
        sender.traffic_class = 46 << 2
        packed = pack_address(host)
        family = socket.IPPROTO_IPV6 if ":" in host else socket.IPPROTO_IP
        option = socket.IPV6_RECVTCLASS if ":" in host else socket.IP_RECVTOS
        receiver.socket.setsockopt(family, option, 1)
        sender.send(packed, 7, receiver.address, packed, b"payload")
        receiver.socket.settimeout(20)
        data, ancillary, _, source = receiver.socket.recvmsg(100, 100)
        assert (data, source[:2]) == (b"payload", (host, 7))
        assert ancillary[0][2][0] == 46 << 2
    finally:
        sender.close()
        receiver.close()

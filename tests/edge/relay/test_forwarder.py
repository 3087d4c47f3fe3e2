"""Families of clients, by the addresses that the kernel gives."""

from __future__ import annotations

import socket

import pytest

from core.addr import IpFamily
from edge.relay.forwarder import family_of_sockaddr


@pytest.mark.parametrize(("host", "family"), [("127.0.0.1", IpFamily.V4), ("::1", IpFamily.V6)])
def test_the_family_is_told_by_the_shape(host: str, family: IpFamily) -> None:
    with socket.socket(family.af, socket.SOCK_DGRAM) as at, socket.socket(family.af, socket.SOCK_DGRAM) as to:
        at.bind((host, 0))
        to.bind((host, 0))
        to.settimeout(5)
        at.sendto(b"x", to.getsockname())
        assert family_of_sockaddr(to.recvfrom(1)[1]) is family

"""edge.host.sockets: VIP sockets as the kernel really makes them."""

from __future__ import annotations

import resource
import socket

import pytest

from core.addr import Endpoint
from core.errors import ConfigError, UnavailableError
from core.service.sockets import kernel_drops
from edge.host.sockets import open_vips, reserve_descriptors
from tests.edge.kit import MEDIA, Peer
from tests.ports import free_port


def vip(host: str) -> Endpoint:
    return Endpoint(host, free_port(host, socket.SOCK_DGRAM))


@pytest.mark.parametrize("host", ["127.0.0.5", "::1"])
def test_a_client_stays_with_one_of_the_workers_sockets(host: str) -> None:
    at = vip(host)
    groups = open_vips([at], workers=4)
    used = set()
    for _ in range(30):
        client = Peer("::1" if ":" in host else "127.0.0.1")
        for _ in range(5):
            client.send(MEDIA, at)
        counts = [drain(group[0]) for group in groups]
        assert sorted(counts) == [0, 0, 0, 5]
        used.add(counts.index(5))
        client.close()
    assert len(used) > 1
    for group in groups:
        group[0].close()


def drain(opened: socket.socket) -> int:
    count = 0
    while True:
        try:
            opened.recv(2048)
        except BlockingIOError:
            return count
        count += 1


def test_the_source_of_an_answer_is_the_vip_whatever_the_route_prefers() -> None:
    at = vip("127.0.0.5")
    ((opened,),) = open_vips([at], workers=1)
    client = Peer("127.0.0.1")  # whose own address the kernel would choose for an unbound socket
    opened.sendto(MEDIA, client.address)
    assert client.receive() == (MEDIA, at)
    client.close()
    opened.close()


def test_what_the_kernel_drops_is_known() -> None:
    at = vip("127.0.0.5")
    ((opened,),) = open_vips([at], workers=1)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)  # the kernel's minimum
    client = Peer()
    for _ in range(100):
        client.send(bytes(1000), at)
    assert kernel_drops(opened) == 100 - drain(opened) > 0
    client.close()
    opened.close()


def test_a_vip_that_someone_else_shares_is_refused() -> None:
    """Joining a SO_REUSEPORT group would succeed, and give half of the clients to a stranger."""
    at = vip("127.0.0.5")
    ((first,),) = open_vips([at], workers=1)
    with pytest.raises(UnavailableError, match="in use"):
        open_vips([at], workers=1)
    first.close()


def test_descriptors_are_raised_as_far_as_needed_and_not_refused_in_silence() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    hard = before[1]
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
        reserve_descriptors(400, 400)
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (464, hard)
        reserve_descriptors(10, 10)
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (464, hard)
        if hard != resource.RLIM_INFINITY:
            with pytest.raises(ConfigError, match=r"lower relay\.max_flows"):
                reserve_descriptors(hard, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)

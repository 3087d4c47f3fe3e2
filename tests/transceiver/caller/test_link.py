"""The caller's sockets, with real ones at the other end."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from core.addr import Endpoint
from transceiver.caller.link import Links

TIMEOUT_S = 20.0

Received = asyncio.Queue[tuple[bytes, Endpoint]]
Body = Callable[[Links, Received], Awaitable[None]]


class Far:
    """A UDP socket that a server might have."""

    def __init__(self, family: socket.AddressFamily = socket.AF_INET) -> None:
        self.socket = socket.socket(family, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1" if family == socket.AF_INET else "::1", 0))
        self.socket.settimeout(TIMEOUT_S)
        self.endpoint = Endpoint(*self.socket.getsockname()[:2])

    def receive(self) -> tuple[bytes, Endpoint]:
        data, source = self.socket.recvfrom(2048)
        return data, Endpoint(*source[:2])


@pytest.fixture(params=[socket.AF_INET, socket.AF_INET6], ids=["ipv4", "ipv6"])
def far(request: pytest.FixtureRequest) -> Iterator[Far]:
    far = Far(request.param)
    yield far
    far.socket.close()


@pytest.fixture
def other() -> Iterator[Far]:
    other = Far()
    yield other
    other.socket.close()


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def run_with_links(body: Body) -> None:
    async def run() -> None:
        received: Received = asyncio.Queue()
        links = Links(lambda data, source: received.put_nowait((data, source)))
        try:
            await asyncio.wait_for(body(links, received), TIMEOUT_S)
        finally:
            links.close()

    before = open_files()
    asyncio.run(run())
    assert open_files() <= before


def test_datagrams_go_both_ways(far: Far) -> None:
    async def body(links: Links, received: Received) -> None:
        assert links.send(b"out", far.endpoint)
        data, source = far.receive()
        assert (data, source) == (b"out", links.local(far.endpoint))
        far.socket.sendto(b"in", source)
        assert await received.get() == (b"in", far.endpoint)

    run_with_links(body)


def test_a_stranger_is_not_heard(far: Far, other: Far) -> None:
    async def body(links: Links, received: Received) -> None:
        links.send(b"out", far.endpoint)
        source = far.receive()[1]
        if source.family == socket.AF_INET:
            other.socket.sendto(b"forged", source)
        far.socket.sendto(b"real", source)
        assert (await received.get())[0] == b"real"
        assert received.empty()

    run_with_links(body)


def test_rebinding_changes_the_port_and_goes_on(far: Far) -> None:
    async def body(links: Links, received: Received) -> None:
        links.send(b"1", far.endpoint)
        before = far.receive()[1]
        links.rebind()
        links.send(b"2", far.endpoint)
        after = far.receive()[1]
        assert before.host == after.host
        assert before.port != after.port
        far.socket.sendto(b"in", after)
        assert await received.get() == (b"in", far.endpoint)

    run_with_links(body)


def test_only_the_wanted_socket_stays(far: Far, other: Far) -> None:
    async def body(links: Links, received: Received) -> None:
        links.send(b"1", far.endpoint)
        links.send(b"1", other.endpoint)
        links.keep_only(far.endpoint)
        assert links.local(other.endpoint) is None
        assert links.local(far.endpoint) is not None

    run_with_links(body)


def test_a_port_that_nobody_has_is_no_reason_to_give_up(far: Far) -> None:
    async def body(links: Links, received: Received) -> None:
        far.socket.close()
        for _ in range(3):
            assert links.send(b"anyone?", far.endpoint)
            await asyncio.sleep(0)
        assert received.empty()

    run_with_links(body)


def test_where_there_is_no_route_is_said() -> None:
    async def body(links: Links, received: Received) -> None:
        # A socket without SO_BROADCAST may not send there: the one address that no machine has a way to.
        assert not links.send(b"x", Endpoint("255.255.255.255", 9))

    run_with_links(body)

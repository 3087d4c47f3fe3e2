"""A home router in the way: forwards UDP to one address, and can change its own port at any moment."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import cast

from core.demux import PacketKind, classify_untrusted
from core.stun import Attribute, MessageType, parse_untrusted

Address = tuple[str, int]


class Nat(asyncio.DatagramProtocol):
    """The inner side, where the one client sends to."""

    def __init__(self) -> None:
        self.target: Address = ("127.0.0.1", 0)
        self.transport: asyncio.DatagramTransport
        self.answered = asyncio.Event()
        """Something has come back since the port was changed last."""
        self.answered_ns = 0
        self.checks: list[tuple[int, bool]] = []
        """When the client sent ICE checks, and whether they nominated."""
        self.loses: Callable[[bytes], bool] = lambda _: False
        """Which packets for the client are lost on the way."""
        self._client: Address | None = None
        self._outer: asyncio.DatagramTransport | None = None

    @property
    def port(self) -> int:
        """Where the client is to send."""
        return int(self.transport.get_extra_info("sockname")[1])

    async def change_port(self) -> int:
        """Go on from another port; the old one is gone. When that was, in monotonic ns."""
        old = self._outer
        loop = asyncio.get_running_loop()
        self._outer, _ = await loop.create_datagram_endpoint(
            lambda: Outside(self), local_addr=("127.0.0.1", 0), remote_addr=self.target
        )
        if old is not None:
            old.close()
        self.answered.clear()
        return time.monotonic_ns()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: Address) -> None:
        self._client = addr
        if classify_untrusted(data) is PacketKind.STUN:
            message = parse_untrusted(data)
            if message.type == MessageType.BINDING_REQUEST:
                nominates = message.get(Attribute.USE_CANDIDATE) is not None
                self.checks.append((time.monotonic_ns(), nominates))
        if self._outer is not None:
            self._outer.sendto(data)

    def from_outside(self, data: bytes) -> None:
        """A packet for the client."""
        if not self.answered.is_set():
            self.answered_ns = time.monotonic_ns()
            self.answered.set()
        if self._client is not None and not self.loses(data):
            self.transport.sendto(data, self._client)

    def close(self) -> None:
        """Both sides."""
        self.transport.close()
        if self._outer is not None:
            self._outer.close()


class Outside(asyncio.DatagramProtocol):
    """The outer side."""

    def __init__(self, nat: Nat) -> None:
        self._nat = nat

    def datagram_received(self, data: bytes, addr: Address) -> None:
        del addr
        self._nat.from_outside(data)

    def error_received(self, exc: Exception) -> None:
        """The relay may be down for a moment."""


@asynccontextmanager
async def nat() -> AsyncIterator[Nat]:
    """A router on loopback; set its `target`, then open its outer side by `change_port`."""
    loop = asyncio.get_running_loop()
    _, router = await loop.create_datagram_endpoint(Nat, local_addr=("127.0.0.1", 0))
    try:
        yield router
    finally:
        router.close()

"""A flow of the `userspace` forwarder, and its socket."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass, field

from core.addr import Endpoint
from edge.forwarders.newcomers import Source
from edge.relay.forwarder import Sockaddr, VipIndex
from edge.relay.verdict import RelayReason


@dataclass(slots=True, eq=False)
class UserspaceFlow:
    """A flow and its socket; see `edge.relay.forwarder.Flow`."""

    client: Sockaddr
    vip: VipIndex
    ufrag: bytes
    transceiver: Endpoint
    last_upstream_ns: int
    socket: socket.socket
    place: int
    """Index in the table that is swept."""
    source: Source
    last_downstream_ns: int
    is_confirmed: bool = False
    rival: UserspaceFlow | None = None
    """The other flow of a contested address."""
    owner: UserspaceFlow | None = None
    """Whose rival it is."""
    send: Callable[[memoryview], int] = field(init=False)

    def __post_init__(self) -> None:
        self.send = self.socket.send

    def matches_ufrag(self, ufrag: bytes) -> bool:
        """Whether a ufrag is the flow's own."""
        return ufrag == self.ufrag


def connect(transceiver: Endpoint) -> socket.socket | RelayReason:
    """A non-blocking UDP socket that talks with one peer."""
    try:
        upstream = socket.socket(transceiver.af, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    except OSError:
        return RelayReason.NO_DESCRIPTORS
    try:
        upstream.connect(transceiver)
    except OSError:
        upstream.close()
        return RelayReason.UNREACHABLE
    return upstream

"""What carries packets once a flow is decided on: the seam between the relay and its two forwarders.

A forwarder owns the flows of one worker: their table, their bound, when each was last heard, their end.
Its clock is what it is told: `now_ns` is monotonic, in integer nanoseconds. It counts
what it carries, in `edge.relay.counters`. Nothing here may raise because of what the network did.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import NamedTuple, NewType, Protocol, TypeAlias, TypeVar

from core.addr import Endpoint, IpFamily
from edge.relay.verdict import RelayReason

Sockaddr: TypeAlias = tuple[str, int] | tuple[str, int, int, int]
"""A client's address exactly as the kernel spells it."""

VipIndex = NewType("VipIndex", int)
"""Which of `relay.vips`; the maps of the fast path have ids of their own (`ebpf.ids.VipId`)."""

MAX_ADDRESSES_PER_TOKEN = 16
"""Flows that one ufrag may have at a worker at once. A client needs a few: one for each of its own
addresses and VIPs, and one more whenever a NAT renumbers it. Without a bound, whoever holds one
token could fill the table with checks from spoofed addresses."""


MAX_CONTESTS = 256
"""Addresses of a worker that two calls have: their packets are copied."""


class Flow(Protocol):
    """One client address at one VIP, and its transceiver. Read-only outside."""

    @property
    def client(self) -> Sockaddr:
        """Where the client sends from."""

    @property
    def vip(self) -> VipIndex:
        """Which VIP it sends to."""

    @property
    def transceiver(self) -> Endpoint:
        """Who gets what it sends."""

    @property
    def last_upstream_ns(self) -> int:
        """When the client was last heard, monotonic. What comes downstream does not count: a client
        that is silent no longer consents (RFC 7675 §5.1), however much is sent to it.
        """

    @property
    def last_downstream_ns(self) -> int:
        """When the transceiver was last heard, monotonic; until then, when the flow began."""

    @property
    def is_confirmed(self) -> bool:
        """Whether the transceiver has said anything."""

    def matches_ufrag(self, ufrag: bytes) -> bool:
        """Whether a ufrag is the flow's own."""


class Stranger(NamedTuple):
    """A client address at a VIP that has no flow."""

    vip: VipIndex
    client: Sockaddr


class Holder(NamedTuple):
    """Whose a place is: what a flow record is made of."""

    client: Endpoint
    vip: VipIndex
    ufrag: bytes


def family_of_sockaddr(client: Sockaddr) -> IpFamily:
    """The family of a socket's address, by its shape."""
    return _V6 if len(client) == 4 else _V4


_V4, _V6 = IpFamily.V4, IpFamily.V6
F = TypeVar("F", bound=Flow)


class Forwarder(Protocol[F]):
    """The flows of one worker."""

    name: str
    """`userspace` or `xdp`."""
    idle_timeout_ns: int
    """A flow whose client is silent for longer ends; may be changed at any time."""
    answer_timeout_ns: int
    """The same of its transceiver; of one that has never said anything, `edge.forwarders.life` tells more."""
    on_promoted: Callable[[F], None]
    """What is to be told of a rival that has its address alone from now on; set by who owns the forwarder."""
    is_expelling: bool
    """Whether every flow ends by the next sweeps, however lately its client was heard."""

    def __len__(self) -> int:
        """Flows that exist."""

    def find(self, client: Sockaddr, vip: VipIndex, now_ns: int) -> F | None:
        """The flow of a client address at a VIP; `now_ns` for when it was last heard."""

    def install(
        self,
        stranger: Stranger,
        ufrag: bytes,
        transceiver: Endpoint,
        now_ns: int,
        *,
        is_restored: bool = False,
    ) -> F | RelayReason:
        """A new flow, in the table and ready to carry; or why there is none, all as it was before. Others
        may have made room for it (`edge.forwarders.room`).

        The key must be free. An entry is complete before any packet can meet it. `is_restored` says that
        another relay had it.
        """

    def rival_of(self, flow: F, now_ns: int) -> F | None:
        """The other flow of its address, where that is contested."""

    def contest(self, flow: F, ufrag: bytes, transceiver: Endpoint, now_ns: int) -> F | RelayReason:
        """A rival for a flow: another one of the same address, as `install` makes one. When one of the two
        ends, the other has the address alone. FLOW_IN_USE where the address has two flows, or no room is
        left for contests.
        """

    def copy(self, flow: F, datagram: memoryview, now_ns: int) -> None:
        """Send to a rival what goes to its address's flow as well: another copy, not another packet."""

    def rebind_ufrag(self, flow: F, ufrag: bytes) -> None:
        """Give a flow another ufrag. Its transceiver sees the same source address as before."""

    def remove(self, flow: F, now_ns: int) -> None:
        """End a flow, and free all that it held."""

    def place_of(self, flow: F) -> int | None:
        """A number that the flow has alone of all that live in this worker; None for another worker's."""

    def holder(self, place: int) -> Holder | None:
        """Whose a place is; None where no flow has it, a rival does, or its ufrag is not known."""

    def live_places(self) -> Sequence[int]:
        """The places of all flows, ascending; rivals among them."""

    def forward(self, flow: F, datagram: memoryview, now_ns: int) -> bool:
        """Send one upstream datagram of a flow and count it; False when it was not sent, or not yet."""

    def sweep(self, now_ns: int) -> float:
        """Look for flows that are to end among a part of the table, end those found, a bounded number per
        call. Returns the seconds until the next call is due.
        """

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start serving what the forwarder reads by itself, such as downstream sockets."""

    def close(self) -> None:
        """Let go of everything that does not outlive the worker."""

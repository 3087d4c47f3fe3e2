"""A flow of the fast path as a value."""

from __future__ import annotations

from dataclasses import dataclass

from core.addr import Endpoint, IpFamily
from ebpf.flows import ufrag_mark
from ebpf.ids import NatSlot
from edge.relay.forwarder import Sockaddr, VipIndex


@dataclass(frozen=True, slots=True)
class XdpFlow:
    """What a record says at the moment of asking; see `edge.relay.forwarder.Flow`."""

    client: Sockaddr
    vip: VipIndex
    family: IpFamily
    slot: NatSlot
    mark: int
    transceiver: Endpoint
    last_upstream_ns: int
    last_downstream_ns: int
    is_confirmed: bool

    def matches_ufrag(self, ufrag: bytes) -> bool:
        """Whether a ufrag is the flow's own, as the program decides it: by 32 bits of its tag."""
        return ufrag_mark(ufrag) == self.mark

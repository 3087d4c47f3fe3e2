"""How a datagram from a client can end: one closed list of reasons, and the verdict as a value."""

from __future__ import annotations

from enum import Enum, StrEnum
from typing import NamedTuple

from core.addr import Endpoint
from core.stun import StunReason
from core.token import TokenReason


class RelayReason(StrEnum):
    """Why the relay drops a datagram whose STUN and token are not to blame; a metric label."""

    UNKNOWN_FLOW_DTLS = "unknown_flow_dtls"
    UNKNOWN_FLOW_MEDIA = "unknown_flow_media"
    UNKNOWN_FLOW_OTHER = "unknown_flow_other"
    NOT_BINDING_REQUEST = "not_binding_request"
    NOT_WEBRTC = "not_webrtc"
    """From a known address, but nothing that a transceiver speaks: neither STUN nor DTLS nor media."""
    NO_SOURCE_PORT = "no_source_port"
    """It came from port 0, to which nothing can be answered (RFC 768)."""
    BAD_INTEGRITY = "bad_integrity"
    FLOW_IN_USE = "flow_in_use"
    DRAINING = "draining"
    TABLE_FULL = "table_full"
    TOO_MANY_ADDRESSES = "too_many_addresses"
    SOURCE_SHARE = "source_share"
    """Its source has half of a table that is nearly full."""
    NO_DESCRIPTORS = "no_descriptors"
    NO_NAT_PORT = "no_nat_port"
    """Every port of the backbone addresses is a flow's, or rests."""
    UNREACHABLE = "unreachable"


REFUSALS: tuple[StrEnum, ...] = (*StunReason, *TokenReason, *RelayReason)
"""Every reason of a refusal, in the order of the counters."""


class Action(Enum):
    """What is to be done with a datagram."""

    FORWARD = "forward"
    FORWARD_BOTH = "forward_both"
    """To the flow and to its rival: nothing in it says whose it is."""
    CREATE = "create"
    """Install a flow, then forward."""
    REBIND_UFRAG = "rebind_ufrag"
    """The flow keeps its transceiver, under another ufrag from here on. Then forward."""
    CONTEST = "contest"
    """Let another call have the address too, then forward to that."""
    DROP = "drop"


class Verdict(NamedTuple):
    """What a datagram came to. `reason` is set for DROP, `ufrag` and `transceiver` for CREATE, REBIND_UFRAG
    and CONTEST.
    """

    action: Action
    reason: StrEnum | None = None
    ufrag: bytes = b""
    transceiver: Endpoint | None = None
    is_of_rival: bool = False
    """Of FORWARD and REBIND_UFRAG, whether the flow is the rival at a contested address."""


FORWARD = Verdict(Action.FORWARD)
FORWARD_BOTH = Verdict(Action.FORWARD_BOTH)
FORWARD_RIVAL = Verdict(Action.FORWARD, is_of_rival=True)
DROPS: dict[StrEnum, Verdict] = {reason: Verdict(Action.DROP, reason) for reason in REFUSALS}

"""Every way in which a packet can end in the fast path; prog/verdict.h has them in the same order."""

from __future__ import annotations

from enum import Enum, StrEnum
from typing import NamedTuple


class Count(NamedTuple):
    """Packets that ended in one way, and bytes of the network layer."""

    packets: int
    bytes: int


class Action(Enum):
    """What XDP does with a packet."""

    REDIRECT = "redirect"
    PASS = "pass"  # noqa: S105 - not a password
    DROP = "drop"


class Reason(StrEnum):
    """Why; a metric label. The word before the first underscore tells the action."""

    FORWARD_UP = "forward_upstream"
    FORWARD_DOWN = "forward_downstream"
    PUNT_TOKEN = "punt_token"  # noqa: S105
    """A request of an unknown client whose token checks out."""
    PUNT_UFRAG = "punt_other_ufrag"
    """The same from the address of a known flow whose ufrag is another."""
    PUNT_MEDIA = "punt_media"
    """DTLS, SRTP or SRTCP of a flow that only the relay may know."""
    PASS_NOT_IP = "pass_not_ip"  # noqa: S105
    PASS_NOT_UDP = "pass_not_udp"  # noqa: S105
    PASS_NOT_OURS = "pass_not_ours"  # noqa: S105
    """UDP to an address or port that is neither a VIP nor in a NAT range."""
    DROP_MALFORMED = "drop_malformed"
    """Cut short, or its lengths contradict each other."""
    DROP_FRAGMENT = "drop_fragment"
    DROP_OPTIONS = "drop_ip_options"
    """IPv4 options or IPv6 extension headers."""
    DROP_NO_CHECKSUM = "drop_no_checksum"
    """UDP over IPv6 with a checksum of zero (RFC 8200 §8.1)."""
    DROP_TTL = "drop_ttl"
    DROP_TOO_BIG = "drop_too_big"
    """Larger than the MTU of its egress."""
    DROP_NO_NEXTHOP = "drop_no_nexthop"
    """The next hop has no neighbour entry, or no route."""
    DROP_NO_EGRESS = "drop_no_egress"
    """The interface of its egress is gone."""
    DROP_NO_HEADROOM = "drop_no_headroom"
    """The driver leaves no room for the tags of its adjacency."""
    DROP_WRONG_SIDE = "drop_wrong_side"
    """For a NAT port, from an interface that does not lead to transceivers."""
    DROP_NO_FLOW = "drop_no_flow"
    """For a NAT port that no flow has."""
    DROP_WRONG_PEER = "drop_wrong_peer"
    """For a flow's NAT port, but not from its transceiver."""
    DROP_NOT_WEBRTC = "drop_not_webrtc"
    """Of an unknown client: neither a binding request nor DTLS nor media."""
    DROP_STUN_MALFORMED = "drop_stun_malformed"
    DROP_NO_USERNAME = "drop_token_no_username"
    DROP_TOKEN_LENGTH = "drop_token_bad_length"  # noqa: S105
    DROP_TOKEN_ALPHABET = "drop_token_bad_alphabet"  # noqa: S105
    DROP_TOKEN_VERSION = "drop_token_bad_version"  # noqa: S105
    DROP_TOKEN_KEY = "drop_token_unknown_key"  # noqa: S105
    DROP_TOKEN_TAG = "drop_token_bad_tag"  # noqa: S105
    DROP_TOKEN_EXPIRED = "drop_token_expired"  # noqa: S105
    DROP_NO_CLOCK = "drop_no_clock"
    """The relay has not told the time yet, so no expiry can be judged."""
    DROP_SOURCE_BUDGET = "drop_source_budget"
    DROP_TOTAL_BUDGET = "drop_total_budget"
    DROP_INTERNAL = "drop_internal"
    """What cannot happen, but for a mistake of ours: a map without an element that it has."""
    DROP_TOKEN_BUDGET = "drop_token_budget"  # noqa: S105
    """One token was used more often than a call needs it, from whatever sources."""
    DROP_EMERGENCY_MEDIA = "drop_emergency_media"
    """What `punt_media` is otherwise."""
    DROP_EMERGENCY_PORT = "drop_emergency_port"
    """In an emergency: UDP to a VIP's address at another port, for which no socket of this host waits."""
    PUNT_CONTESTED = "punt_contested"
    """Of an address that two calls have: the relay sends it to both transceivers."""
    UNKNOWN = "unknown"
    """None of the program's own: all that a newer program counts under reasons of which this version has not
    heard.
    """

    @property
    def action(self) -> Action:
        """What the program does with such a packet. Raises KeyError for UNKNOWN, as it may be anything."""
        return _ACTIONS[self.value.partition("_")[0]]


_ACTIONS = {
    "forward": Action.REDIRECT,
    "punt": Action.PASS,
    "pass": Action.PASS,
    "drop": Action.DROP,
}

REASONS: tuple[Reason, ...] = tuple(Reason)
"""All that are told."""
KNOWN: tuple[Reason, ...] = tuple(reason for reason in Reason if reason is not Reason.UNKNOWN)
"""In the order of the counters, at the beginning of each family's block."""
REASON_STRIDE = 64
"""Counters in a block, used or not."""


class Family(StrEnum):
    """The blocks of the counters, in their order."""

    NONE = "none"
    """Of what is not IP."""
    IPV4 = "ipv4"
    IPV6 = "ipv6"


FAMILIES: tuple[Family, ...] = tuple(Family)
COUNTERS = REASON_STRIDE * len(FAMILIES)

"""Where a session stands, and why it drops a datagram: what is told of sessions without having any.

new ──first check──▶ connecting ──keys──▶ connected
└──────────┴──────────────┴──ended──▶ closed
"""

from __future__ import annotations

from enum import Enum, StrEnum
from typing import Final

from core.stun import StunReason
from transceiver.transport.reasons import ChannelReason, IceReason, MuxReason, PeerReason, SctpReason


class SessionState(Enum):
    """Where a session stands."""

    NEW = "new"
    """The answer is out; the client has not been heard from."""
    CONNECTING = "connecting"
    """The client's address is known; DTLS is under way."""
    CONNECTED = "connected"
    CLOSED = "closed"


class SessionEvent(Enum):
    """What moves a session on."""

    ARRIVED = "arrived"
    KEYED = "keyed"
    ENDED = "ended"


TRANSITIONS: Final = {
    (SessionState.NEW, SessionEvent.ARRIVED): SessionState.CONNECTING,
    (SessionState.CONNECTING, SessionEvent.KEYED): SessionState.CONNECTED,
    (SessionState.NEW, SessionEvent.ENDED): SessionState.CLOSED,
    (SessionState.CONNECTING, SessionEvent.ENDED): SessionState.CLOSED,
    (SessionState.CONNECTED, SessionEvent.ENDED): SessionState.CLOSED,
}


class IllegalTransitionError(Exception):
    """A session was asked for a step that its state does not have: a mistake of ours."""


def advance(state: SessionState, event: SessionEvent) -> SessionState:
    """The state that follows. Raises IllegalTransitionError."""
    following = TRANSITIONS.get((state, event))
    if following is None:
        raise IllegalTransitionError(f"{event.value} while {state.value}")
    return following


class SessionReason(StrEnum):
    """Why a session drops a datagram unanswered; a metric label."""

    MEDIA_BEFORE_KEYS = "media_before_keys"


PACKET_REASONS = (
    *StunReason,
    *MuxReason,
    *IceReason,
    *SessionReason,
    *PeerReason,
    *ChannelReason,
    *SctpReason,
)
"""Everything that `Observer.packet_refused` is told."""

"""Why a datagram, or a message in one, is dropped on its way to a session: metric labels, for whom the
transport itself would be too much to import.
"""

from __future__ import annotations

from enum import StrEnum


class MuxReason(StrEnum):
    """Why a datagram is nobody's; a metric label."""

    EMPTY = "datagram_empty"
    TOO_LONG = "datagram_too_long"
    NOT_OURS = "datagram_of_no_protocol"
    UNKNOWN_UFRAG = "unknown_ufrag"
    CALL_GONE = "call_gone"
    """Answered with 403."""
    CALL_ENDING = "call_ending"
    """Its client is being told why."""
    UNKNOWN_ADDRESS = "unknown_address"
    NO_USERNAME = "stun_without_username"
    ADDRESS_IN_USE = "address_in_use"
    """Another session's client has just shown itself there."""


class IceReason(StrEnum):
    """Why a STUN message got no success response; a metric label."""

    NOT_A_REQUEST = "ice_not_a_request"
    NO_USERNAME = "ice_no_username"
    WRONG_USERNAME = "ice_wrong_username"
    BAD_INTEGRITY = "ice_bad_integrity"
    UNKNOWN_ATTRIBUTE = "ice_unknown_attribute"
    """Answered with 420."""
    ROLE_CONFLICT = "ice_role_conflict"
    """Answered with 487."""
    REPEATED = "ice_repeated"
    """A transaction seen before: answered, and nothing else."""
    UNASKED = "ice_unasked_response"
    """A response to no check of ours, or one that came twice, or a forged one."""


class PeerReason(StrEnum):
    """Why something that the peer sent was dropped; a metric label."""

    INBOX_FULL = "dtls_inbox_full"
    UNASKED_HANDSHAKE = "dtls_unasked_handshake"
    """One too many, or from where no check has shown the client."""


class ChannelReason(StrEnum):
    """Why something inside SCTP was dropped; a metric label."""

    UNPROCESSABLE = "sctp_unprocessable"
    EXCESSIVE = "sctp_excessive"
    OTHER_CHANNEL = "channel_not_ours"
    BINARY_MESSAGE = "channel_binary_message"
    """Bytes that are no UTF-8; those that are count as text."""


class SctpReason(StrEnum):
    """Why an SCTP packet is dropped; a metric label."""

    MALFORMED = "sctp_malformed"
    BAD_PARAMETER = "sctp_bad_parameter"
    BAD_STREAM = "sctp_bad_stream"
    BAD_ACKNOWLEDGEMENT = "sctp_bad_acknowledgement"

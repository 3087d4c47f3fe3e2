"""SDP: what the rest of the transceiver uses of it. See docs/signaling.md for why it is our own."""

from transceiver.sdp.model import (
    MAX_MESSAGE_BYTES,
    MAX_SDP_BYTES,
    SCTP_PORT,
    Answer,
    Fragment,
    LocalDescription,
    MediaLine,
    Offer,
    Restarted,
    SdpReason,
)
from transceiver.sdp.parse import (
    parse_answer_untrusted,
    parse_fragment_untrusted,
    parse_offer_untrusted,
    parse_restarted_untrusted,
)
from transceiver.sdp.write import build_answer, build_fragment, build_offer, build_restart

__all__ = [
    "MAX_MESSAGE_BYTES",
    "MAX_SDP_BYTES",
    "SCTP_PORT",
    "Answer",
    "Fragment",
    "LocalDescription",
    "MediaLine",
    "Offer",
    "Restarted",
    "SdpReason",
    "build_answer",
    "build_fragment",
    "build_offer",
    "build_restart",
    "parse_answer_untrusted",
    "parse_fragment_untrusted",
    "parse_offer_untrusted",
    "parse_restarted_untrusted",
]

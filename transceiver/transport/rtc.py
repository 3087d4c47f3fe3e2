"""The sole importer of aiortc: what `peer` and `sctp` are built on, by one name each."""

from aiortc import (
    RTCCertificate,
    RTCDataChannel,
    RTCDataChannelParameters,
    RTCDtlsFingerprint,
    RTCDtlsParameters,
    RTCDtlsTransport,
    RTCSctpCapabilities,
    RTCSctpTransport,
)
from aiortc.rtcdtlstransport import (
    SRTP_PROFILES,
    X509_DIGEST_ALGORITHMS,
    SRTPProtectionProfile,
    State,
    certificate_digest,
)
from aiortc.rtcsctptransport import (
    DATA_CHANNEL_OPEN,
    WEBRTC_BINARY,
    WEBRTC_BINARY_EMPTY,
    WEBRTC_DCEP,
    WEBRTC_STRING,
    WEBRTC_STRING_EMPTY,
    AbortChunk,
)

__all__ = [
    "DATA_CHANNEL_OPEN",
    "SRTP_PROFILES",
    "WEBRTC_BINARY",
    "WEBRTC_BINARY_EMPTY",
    "WEBRTC_DCEP",
    "WEBRTC_STRING",
    "WEBRTC_STRING_EMPTY",
    "X509_DIGEST_ALGORITHMS",
    "AbortChunk",
    "RTCCertificate",
    "RTCDataChannel",
    "RTCDataChannelParameters",
    "RTCDtlsFingerprint",
    "RTCDtlsParameters",
    "RTCDtlsTransport",
    "RTCSctpCapabilities",
    "RTCSctpTransport",
    "SRTPProtectionProfile",
    "State",
    "certificate_digest",
]

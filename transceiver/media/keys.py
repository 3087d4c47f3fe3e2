"""The hand-over from DTLS to SRTP."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class SrtpKeys:
    """Keying material of one DTLS-SRTP handshake (RFC 5764 §4.2), key and salt joined per direction."""

    profile: str
    """The negotiated profile by its RFC name, such as SRTP_AES128_CM_SHA1_80."""
    receive: bytes = field(repr=False)
    send: bytes = field(repr=False)

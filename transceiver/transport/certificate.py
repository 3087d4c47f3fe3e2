"""Who a side is in DTLS: its certificate, and whether the other's is the one that was signaled."""

from __future__ import annotations

from typing import cast

from OpenSSL import SSL

from transceiver.transport.keying import selected_profile
from transceiver.transport.rtc import (
    X509_DIGEST_ALGORITHMS,
    RTCCertificate,
    RTCDtlsParameters,
    RTCDtlsTransport,
    SRTPProtectionProfile,
    State,
    certificate_digest,
)

CIPHERS = (
    b"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
    b"ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305:"
    b"ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
    b"ECDHE-ECDSA-AES128-SHA:ECDHE-RSA-AES128-SHA:ECDHE-ECDSA-AES256-SHA:ECDHE-RSA-AES256-SHA"
)
"""Forward secrecy throughout (RFC 8827 §6.5). Those with RSA are for a DTLS server that has such a
certificate: with aiortc's own list, which is of ECDSA, a client of it has no cipher in common.
"""


class Certificate(RTCCertificate):
    """An ECDSA certificate that a whole process shares; its TLS context is made once."""

    _context: SSL.Context | None = None

    @classmethod
    def generate(cls) -> Certificate:
        """A new self-signed certificate with a P-256 key."""
        return cls.generateCertificate()

    @property
    def fingerprint(self) -> tuple[str, str]:
        """(`sha-256`, colon-separated upper-case hex) for SDP (RFC 8122 §5)."""
        return next((f.algorithm, f.value) for f in self.getFingerprints() if f.algorithm == "sha-256")

    def _create_ssl_context(self, srtp_profiles: list[SRTPProtectionProfile]) -> SSL.Context:
        if self._context is None:
            self._context = super()._create_ssl_context(srtp_profiles)
            # The MTU is ours to set: over memory there is no path to ask.
            self._context.set_options(SSL.OP_NO_QUERY_MTU)
            self._context.set_cipher_list(CIPHERS)
        return self._context


class Dtls(RTCDtlsTransport):
    """Satisfied when one signaled fingerprint is the certificate's: a client may name several certificates
    and show any of them (RFC 8122 §5), where aiortc wants each fingerprint to match.

    It has no SRTP of its own, which nobody would use and which keeps copies of the keys.
    """

    def _setup_srtp(self) -> None:
        if selected_profile(cast(SSL.Connection, self._ssl)) is None:
            self._set_state(State.FAILED)

    def _validate_peer_identity(self, signaled: RTCDtlsParameters) -> None:
        shown = cast(SSL.Connection, self._ssl).get_peer_certificate(as_cryptography=True)
        assert shown is not None, "the handshake demands one"
        matching = [
            f
            for f in signaled.fingerprints
            if f.algorithm.lower() in X509_DIGEST_ALGORITHMS
            and f.value.upper() == certificate_digest(shown, f.algorithm.lower())
        ]
        super()._validate_peer_identity(RTCDtlsParameters(matching or signaled.fingerprints))

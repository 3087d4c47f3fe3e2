"""Fuzz `offers_dtls13_untrusted`, which reads a stranger's ClientHello before OpenSSL does.

Invariant: any bytes are a plain yes or no; yes needs a whole header of a handshake's first fragment, and
whatever is behind the cipher suites changes nothing.
"""

from __future__ import annotations

from transceiver.transport.dtls_alert import offers_dtls13_untrusted

_HANDSHAKE, _CLIENT_HELLO = 22, 1
_RECORD_BYTES = 13


def test_one_input(data: bytes) -> None:
    """Take the input as one datagram."""
    if offers_dtls13_untrusted(data):
        assert data[0] == _HANDSHAKE
        assert data[_RECORD_BYTES] == _CLIENT_HELLO
        assert offers_dtls13_untrusted(data + bytes(64))

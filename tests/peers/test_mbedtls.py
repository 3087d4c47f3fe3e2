"""mbedTLS, which small devices have, as the DTLS client of our server.

Its binding for Python has no use_srtp (RFC 5764). So what can be seen is a handshake to its end, and that we
then part, as there are no keys for media.
"""

from __future__ import annotations

import asyncio
import hashlib
import socket
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from mbedtls import hashlib as mbed_hashlib
from mbedtls import pk, tls, x509

from tests.transceiver.net import until
from tests.transceiver.transport.test_certificate import Wire
from transceiver.transport.certificate import Certificate
from transceiver.transport.peer import Peer

TIMEOUT_S = 10.0


def p_256() -> Any:
    curve: Any = pk.Curve.SECP256R1
    key = pk.ECC(curve)
    key.generate()
    return key


def rsa_2048() -> Any:
    key = pk.RSA()
    key.generate(2048)
    return key


def self_signed(key: Any) -> Any:
    now = datetime.now(UTC).replace(tzinfo=None)
    request = x509.CSR.new(key, "CN=device", mbed_hashlib.sha256())
    return x509.CRT.selfsign(
        request, key, not_before=now - timedelta(days=1), not_after=now + timedelta(days=1), serial_number=1
    )


def handshake(port: int, key: Any, certificate: Any, longest_record: Any) -> str:
    """To its end; the cipher suite that it came to."""
    configuration = tls.DTLSConfiguration(
        validate_certificates=False,  # SDP has vouched for it, by fingerprint
        certificate_chain=([certificate], key),
        max_fragmentation_length=longest_record,
        lowest_supported_version=tls.DTLSVersion.DTLSv1_2,
        handshake_timeout_min=0.5,
        handshake_timeout_max=TIMEOUT_S,
    )
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plain:
        plain.settimeout(TIMEOUT_S)
        device = tls.ClientContext(configuration).wrap_socket(plain, server_hostname=None)
        device.connect(("127.0.0.1", port))
        while True:
            try:
                device.do_handshake()
            except (tls.WantReadError, tls.WantWriteError):
                continue
            return str(device.cipher())


@pytest.mark.parametrize("make_key", [p_256, rsa_2048], ids=["P-256", "RSA 2048"])
@pytest.mark.parametrize(
    "longest_record", ["NONE", "MFL_512K"], ids=["records as they are", "records of 512"]
)
def test_a_handshake_comes_to_its_end(make_key: Callable[[], Any], longest_record: str) -> None:
    key = make_key()
    certificate = self_signed(key)
    fingerprint = ("sha-256", hashlib.sha256(certificate.to_DER()).digest().hex(":").upper())

    async def scenario() -> None:
        wire = Wire(0)
        try:
            wire.peer = Peer(Certificate.generate(), "server", [fingerprint], wire, None)
            wire.peer.start()
            port = wire.socket.getsockname()[1]
            length = getattr(tls.MaxFragmentLength, longest_record)
            suite = await asyncio.to_thread(handshake, port, key, certificate, length)
            assert suite.startswith("TLS-ECDHE-ECDSA-")
            await until(lambda: wire.closed)
            assert (wire.closed, wire.keys) == (["dtls_failed"], [])
            await wire.peer.close()
        finally:
            wire.close()

    asyncio.run(scenario())

"""Keys as both ends of a handshake export them, against pyOpenSSL's own export."""

from __future__ import annotations

import pytest
from OpenSSL import SSL

from core.errors import UnavailableError
from transceiver.transport.certificate import Certificate
from transceiver.transport.keying import LABEL, export_keys, selected_profile
from transceiver.transport.rtc import SRTP_PROFILES, RTCCertificate, SRTPProtectionProfile

FLIGHT_BYTES = 65_536


def connect(profiles: list[SRTPProtectionProfile]) -> tuple[SSL.Connection, SSL.Connection]:
    """Client and server after a handshake, over memory."""
    ends = []
    for _ in range(2):
        certificate: RTCCertificate = Certificate.generate()
        if profiles:
            context = certificate._create_ssl_context(profiles)
        else:
            context = SSL.Context(SSL.DTLS_METHOD)
            context.use_certificate(certificate._cert)
            context.use_privatekey(certificate._key)
        context.set_options(SSL.OP_NO_QUERY_MTU)
        ends.append(SSL.Connection(context))
        ends[-1].set_ciphertext_mtu(1200)
    client, server = ends
    client.set_connect_state()
    server.set_accept_state()
    waiting = [client, server]
    while waiting:
        for end, other in ((client, server), (server, client)):
            try:
                end.do_handshake()
                waiting = [each for each in waiting if each is not end]
            except SSL.WantReadError:
                pass
            try:
                other.bio_write(end.bio_read(FLIGHT_BYTES))
            except SSL.WantReadError:
                continue
    return client, server


@pytest.mark.parametrize("profile", SRTP_PROFILES, ids=lambda profile: profile.openssl_profile.decode())
def test_each_end_has_what_the_other_has_in_the_order_of_the_rfc(profile: SRTPProtectionProfile) -> None:
    client, server = connect([profile])
    assert selected_profile(server) is profile
    at_client, at_server = export_keys(client, is_server=False), export_keys(server, is_server=True)
    assert at_client.profile == at_server.profile == profile.openssl_profile.decode()
    assert at_client.send == at_server.receive
    assert at_client.receive == at_server.send
    material = server.export_keying_material(LABEL, 2 * (profile.key_length + profile.salt_length))
    assert at_server.receive == profile.get_key_and_salt(material, 0)
    assert at_server.send == profile.get_key_and_salt(material, 1)


def test_without_a_profile_there_are_no_keys() -> None:
    client, server = connect([])
    assert selected_profile(client) is None
    with pytest.raises(UnavailableError, match="no key layout is known for SRTP profile b''"):
        export_keys(server, is_server=True)

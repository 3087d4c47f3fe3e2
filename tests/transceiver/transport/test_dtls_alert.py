"""Alerts that this project seals, opened by OpenSSL; and whom they are for, by captured browsers."""

from __future__ import annotations

import contextlib
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from OpenSSL import SSL

from tests.pcap import CAPTURES, read_datagrams
from transceiver.transport.certificate import Certificate
from transceiver.transport.dtls_alert import Secrets, could_do_dtls13, offers_dtls13_untrusted, seal_error
from transceiver.transport.rtc import SRTP_PROFILES

Role = Literal["client", "server"]

READ_ALERT = 0x4004
"""SSL_CB_READ_ALERT, which pyOpenSSL has no name for."""
FATAL_INTERNAL_ERROR = 0x0250
HEADER_BYTES = 13


def _move(source: SSL.Connection, target: SSL.Connection) -> None:
    try:
        target.bio_write(source.bio_read(65_536))
    except SSL.WantReadError:
        return


def _connect(cipher: bytes, role: Role) -> tuple[SSL.Connection, SSL.Connection]:
    """Two ends that have shaken hands: ours, of that role, and the other."""
    contexts = []
    for _ in range(2):
        context = Certificate.generate()._create_ssl_context(SRTP_PROFILES)
        context.set_cipher_list(cipher)
        contexts.append(context)
    server, client = (SSL.Connection(context) for context in contexts)
    server.set_accept_state()
    client.set_connect_state()
    for end in (server, client):
        end.set_ciphertext_mtu(1200)
    for _ in range(4):
        for end, other in ((client, server), (server, client)):
            with contextlib.suppress(SSL.WantReadError):
                end.do_handshake()
            _move(end, other)
    return (client, server) if role == "client" else (server, client)


def _close(ours: SSL.Connection) -> bytes:
    ours.send(b"earlier records")
    ours.bio_read(65_536)
    ours.shutdown()
    return ours.bio_read(65_536)


@pytest.mark.parametrize("role", ["client", "server"])
@pytest.mark.parametrize("cipher", ["AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305"])
def test_an_error_alert_is_one_to_openssl(cipher: str, role: Role) -> None:
    ours, other = _connect(b"ECDHE-ECDSA-" + cipher.encode(), role)
    told: list[tuple[int, int]] = []
    other.set_info_callback(lambda _, where, value: told.append((where, value)))
    sealed = seal_error(Secrets.of(ours, role), _close(ours))
    assert sealed is not None
    other.bio_write(sealed)
    with pytest.raises(SSL.Error, match="alert internal error"):
        other.recv(1500)
    assert told == [(READ_ALERT, FATAL_INTERNAL_ERROR)]


@pytest.mark.parametrize("role", ["client", "server"])
def test_it_takes_the_place_behind_openssl_s_last_record(role: Role) -> None:
    ours, _ = _connect(b"ECDHE-ECDSA-AES128-GCM-SHA256", role)
    closing = _close(ours)
    sealed = seal_error(Secrets.of(ours, role), closing)
    assert sealed is not None
    for start, end in ((3, 11), (HEADER_BYTES, HEADER_BYTES + 8)):
        # A nonce that was used before would give the key stream away.
        assert int.from_bytes(sealed[start:end]) == int.from_bytes(closing[start:end]) + 1


def test_an_explicit_nonce_starts_anew_behind_its_last() -> None:
    secrets = Secrets("ECDHE-ECDSA-AES128-GCM-SHA256", "server", bytes(48), bytes(32), bytes(32))
    header = bytes.fromhex("15fefd0001000000000007001a")
    sealed = seal_error(secrets, header + b"\xff" * 26)
    assert sealed is not None
    assert sealed[HEADER_BYTES : HEADER_BYTES + 8] == bytes(8)


def test_other_ciphers_are_left_to_openssl() -> None:
    ours, _ = _connect(b"ECDHE-ECDSA-AES128-SHA", "server")
    assert seal_error(Secrets.of(ours, "server"), _close(ours)) is None


def test_the_master_secret_does_not_show() -> None:
    assert "secret" not in repr(Secrets("", "server", b"secret", bytes(32), bytes(32)))


def _hellos(name: str) -> list[bytes]:
    payloads = [datagram.payload for datagram in read_datagrams(CAPTURES / f"{name}.pcap")]
    return [p for p in payloads if p[:1] == b"\x16" and p[HEADER_BYTES] == 1]


@pytest.mark.parametrize(
    ("name", "offers"),
    [
        ("chromium-lite", True),
        ("chromium-nopq", True),
        ("firefox-lite", True),
        ("werift-lite", False),
        ("chromium-stock", False),  # there aiortc is the client
    ],
)
def test_whoever_offers_suites_of_tls_1_3_speaks_it(name: str, offers: bool) -> None:
    first = _hellos(name)[0]
    assert offers_dtls13_untrusted(first) is offers
    assert not any(offers_dtls13_untrusted(first[:size]) for size in range(60))
    assert offers_dtls13_untrusted(first[:100]) is offers


def test_only_the_beginning_of_a_hello_counts() -> None:
    first, second = _hellos("chromium-lite")[:2]
    assert not offers_dtls13_untrusted(second)
    for at in (0, HEADER_BYTES, HEADER_BYTES + 8):  # content type, message type, fragment offset
        assert not offers_dtls13_untrusted(first[:at] + b"\x02" + first[at + 1 :])


@given(st.binary(max_size=300))
def test_noise_offers_nothing_and_raises_nothing(noise: bytes) -> None:
    assert offers_dtls13_untrusted(b"\x16" + noise) in (True, False)


def test_a_server_that_chose_less_says_so_in_its_random() -> None:
    assert could_do_dtls13(bytes(24) + b"DOWNGRD\x01")
    assert not could_do_dtls13(bytes(24) + b"DOWNGRD\x00")
    assert not could_do_dtls13(b"")

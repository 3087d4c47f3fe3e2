from __future__ import annotations

import itertools

import pytest
from aiortc.rtcdtlstransport import SRTP_PROFILES
from hypothesis import given
from hypothesis import strategies as st
from OpenSSL import SSL

from tests.pcap import CAPTURES, read_datagrams
from transceiver.transport.certificate import Certificate
from transceiver.transport.dtls_link import pack_records


def _record(body: bytes) -> bytes:
    return b"\x16\xfe\xfd" + bytes(8) + len(body).to_bytes(2, "big") + body


def _short_record(body: bytes) -> bytes:
    return b"\x2d" + bytes(2) + len(body).to_bytes(2, "big") + body


RECORDS = st.lists(st.binary(max_size=900).flatmap(lambda b: st.sampled_from([_record(b), _short_record(b)])))


@given(RECORDS, st.integers(100, 1500))
def test_datagrams_hold_whole_records_and_no_more_than_fit(records: list[bytes], mtu: int) -> None:
    datagrams = list(pack_records(b"".join(records), mtu))
    assert b"".join(datagrams) == b"".join(records)
    left = list(records)
    for datagram in datagrams:
        held: list[bytes] = []
        while sum(map(len, held)) < len(datagram):
            held.append(left.pop(0))
        assert b"".join(held) == datagram
        assert len(datagram) <= mtu or len(held) == 1
    for one, following in itertools.pairwise(datagrams):
        # Full: the record that the next one begins with had no room.
        assert len(one) + min(len(r) for r in records if following.startswith(r)) > mtu


@given(st.binary(max_size=200), st.integers(1, 100))
def test_nothing_is_lost_of_what_is_no_record(data: bytes, mtu: int) -> None:
    assert b"".join(pack_records(data, mtu)) == data


def test_a_record_without_a_length_takes_the_rest() -> None:
    assert list(pack_records(_record(b"a") + b"\x21" + bytes(50), 60)) == [_record(b"a"), b"\x21" + bytes(50)]


@pytest.mark.parametrize("name", ["chromium-lite", "firefox-lite", "werift-lite"])
def test_captured_flights_of_one_datagram_stay_one(name: str) -> None:
    handshakes = [d.payload for d in read_datagrams(CAPTURES / f"{name}.pcap") if d.payload[:1] == b"\x16"]
    assert handshakes
    for payload in handshakes:
        assert list(pack_records(payload, 1500)) == [payload]


def test_a_flight_that_openssl_cut_for_a_small_path_is_sent_in_as_many_datagrams() -> None:
    context = Certificate.generate()._create_ssl_context(SRTP_PROFILES)
    client, server = SSL.Connection(context), SSL.Connection(context)
    client.set_connect_state()
    server.set_accept_state()
    for end in (client, server):
        end.set_ciphertext_mtu(300)
    with pytest.raises(SSL.WantReadError):
        client.do_handshake()
    server.bio_write(client.bio_read(65_536))
    with pytest.raises(SSL.WantReadError):
        server.do_handshake()
    flight = server.bio_read(65_536)
    datagrams = list(pack_records(flight, 300))
    assert len(flight) > 600
    assert len(datagrams) >= 3
    assert max(map(len, datagrams)) <= 300

"""core.demux: the first byte of a datagram (RFC 7983 §7)."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.demux import PacketKind, classify_untrusted, is_rtcp, is_well_formed_untrusted
from tests.pcap import CAPTURES, read_datagrams
from tests.vectors.first_headers import FIRST_HEADERS

RFC_7983 = {
    PacketKind.STUN: range(4),
    PacketKind.DTLS: range(20, 64),
    PacketKind.MEDIA: range(128, 192),
}


@pytest.mark.parametrize("first", range(256))
def test_every_first_byte(first: int) -> None:
    expected = next((kind for kind, values in RFC_7983.items() if first in values), PacketKind.OTHER)
    for data in (bytes([first]), bytearray([first, 0]), memoryview(bytes([first]))):
        assert classify_untrusted(data) is expected


def test_an_empty_datagram_is_no_protocol() -> None:
    assert classify_untrusted(b"") is PacketKind.OTHER


def test_rtcp_is_told_from_rtp_by_its_second_byte() -> None:
    assert [b for b in range(256) if is_rtcp(bytes([0x80, b]))] == list(range(192, 224))
    assert not is_rtcp(b"\x80")
    assert not is_rtcp(b"")


@pytest.mark.parametrize("capture", sorted(CAPTURES.glob("*.pcap")), ids=lambda p: p.stem)
def test_clients_send_only_the_three_protocols(capture: Path) -> None:
    kinds = {classify_untrusted(d.payload) for d in read_datagrams(capture)}
    assert kinds == {PacketKind.STUN, PacketKind.DTLS, PacketKind.MEDIA}


@pytest.mark.parametrize("capture", sorted(CAPTURES.glob("*.pcap")), ids=lambda p: p.stem)
def test_all_that_clients_send_is_well_formed(capture: Path) -> None:
    assert [d.payload.hex() for d in read_datagrams(capture) if not is_well_formed_untrusted(d.payload)] == []


@pytest.mark.parametrize(("data", "is_well_formed"), FIRST_HEADERS.values(), ids=FIRST_HEADERS)
def test_first_headers(data: bytes, is_well_formed: bool) -> None:
    for of_any_type in (data, bytearray(data), memoryview(data)):
        assert is_well_formed_untrusted(of_any_type) is is_well_formed


def test_every_other_kind_is_ill_formed() -> None:
    others = [first for first in range(256) if classify_untrusted(bytes([first])) is PacketKind.OTHER]
    assert not any(is_well_formed_untrusted(bytes([first]) + bytes(1400)) for first in others)

"""core.demux: the first byte of a datagram (RFC 7983 §7)."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.demux import PacketKind, classify_untrusted, is_rtcp
from tests.pcap import CAPTURES, read_datagrams

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

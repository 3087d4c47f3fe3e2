"""RTP parsing and writing, against RFC 3550 §5.1, RFC 8285 and packets of real clients."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.demux import PacketKind, classify_untrusted, is_rtcp
from core.errors import MediaError
from tests.pcap import CAPTURES, read_datagrams
from transceiver.media.rtp import RtpPacket, RtpReason, build_rtp, parse_rtp_untrusted

FIXED = bytes.fromhex("806f1234 01020304 deadbeef")
PACKETS = st.builds(
    RtpPacket,
    st.integers(0, 127),
    st.booleans(),
    st.integers(0, 0xFFFF),
    st.integers(0, 0xFFFFFFFF),
    st.integers(0, 0xFFFFFFFF),
    st.binary(max_size=1200),
)


def with_first(first: int, rest: bytes = b"") -> bytes:
    """A packet whose first octet is `first`, continued by `rest`."""
    return bytes((first,)) + FIXED[1:] + rest


def test_fixed_header() -> None:
    packet = parse_rtp_untrusted(FIXED + b"opus")
    assert packet == RtpPacket(111, False, 0x1234, 0x01020304, 0xDEADBEEF, b"opus")


def test_marker() -> None:
    assert parse_rtp_untrusted(bytes((0x80, 0x80 | 111)) + FIXED[2:]).marker


@pytest.mark.parametrize(
    ("data", "payload"),
    [
        (with_first(0x82, b"\0\0\0\1\0\0\0\2opus"), b"opus"),
        # RFC 8285 §4.2: 0xBEDE, one word: id 1, one byte of audio level, two of padding.
        (with_first(0x90, bytes.fromhex("bede0001 10ff0000") + b"opus"), b"opus"),
        # RFC 8285 §4.3: 0x100x, two words: id 5, four bytes; id 7, none.
        (with_first(0x90, bytes.fromhex("10000002 05040102 03040700") + b"opus"), b"opus"),
        (with_first(0x90, bytes.fromhex("bede0000") + b"opus"), b"opus"),
        (with_first(0xA0, b"opus\0\0\0\4"), b"opus"),
        (with_first(0xA0, b"opus\1"), b"opus"),
        (with_first(0xB1, b"\0\0\0\1" + bytes.fromhex("bede0001 10ff0000") + b"opus\0\2"), b"opus"),
        (with_first(0xA0, b"\0\2"), b""),
    ],
    ids=["csrc", "one-byte", "two-byte", "empty extension", "padding", "1 padding", "all", "padding only"],
)
def test_what_precedes_and_follows_the_payload_is_skipped(data: bytes, payload: bytes) -> None:
    assert parse_rtp_untrusted(data).payload == payload


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", RtpReason.SHORT),
        (FIXED[:11], RtpReason.SHORT),
        (with_first(0x40), RtpReason.VERSION),
        (with_first(0x8F, bytes(59)), RtpReason.CSRC),
        (with_first(0x90, b"\xbe\xde\0"), RtpReason.EXTENSION),
        (with_first(0x90, b"\xbe\xde\xff\xff" + bytes(1000)), RtpReason.EXTENSION),
        (with_first(0xA0, b"opus\0"), RtpReason.PADDING),
        (with_first(0xA0, b"opus\6"), RtpReason.PADDING),
        (with_first(0xA0), RtpReason.PADDING),
    ],
)
def test_lies_are_refused_with_their_reason(data: bytes, reason: RtpReason) -> None:
    with pytest.raises(MediaError) as refusal:
        parse_rtp_untrusted(data)
    assert refusal.value.reason is reason


@given(PACKETS)
def test_round_trip(packet: RtpPacket) -> None:
    assert parse_rtp_untrusted(build_rtp(packet)) == packet


@given(st.binary(max_size=200), st.integers(0, 255))
def test_any_bytes_parse_or_are_refused(data: bytes, first: int) -> None:
    try:
        packet = parse_rtp_untrusted(bytes((first,)) + data)
    except MediaError:
        return
    assert packet.payload in data


def test_every_truncation_of_a_packet_with_everything_parses_or_is_refused() -> None:
    whole = with_first(0xB1, b"\0\0\0\1" + bytes.fromhex("bede0001 10ff0000") + b"opus\0\2")
    for length in range(len(whole)):
        try:
            parse_rtp_untrusted(whole[:length])
        except MediaError:
            continue
        assert length > 24


@pytest.mark.parametrize(
    ("capture", "payload_type"), [("chromium-lite", 111), ("firefox-lite", 109), ("werift-lite", 111)]
)
def test_headers_of_real_clients(capture: str, payload_type: int) -> None:
    """The captures hold SRTP, whose header is in the clear; its tag reads as the end of the payload."""
    packets = [
        parse_rtp_untrusted(datagram.payload)
        for datagram in read_datagrams(CAPTURES / f"{capture}.pcap")
        if classify_untrusted(datagram.payload) is PacketKind.MEDIA and not is_rtcp(datagram.payload)
    ]
    streams = {packet.ssrc for packet in packets}
    assert len(streams) == 2
    for ssrc in streams:
        sent = [packet for packet in packets if packet.ssrc == ssrc]
        assert {packet.payload_type for packet in sent} == {payload_type}
        steps = {(after.sequence - before.sequence) % 65536 for before, after in itertools.pairwise(sent)}
        assert steps == {1}
        times = {(after.timestamp - before.timestamp) % 2**32 for before, after in itertools.pairwise(sent)}
        assert times == {960}

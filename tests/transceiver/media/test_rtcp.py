"""RTCP parsing and writing, against RFC 3550 §6."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import MediaError
from transceiver.media.rtcp import (
    Bye,
    ReceiverReport,
    ReportBlock,
    RtcpPacket,
    RtcpReason,
    SenderReport,
    build_cname,
    build_rtcp,
    parse_rtcp_untrusted,
)

WORD = st.integers(0, 0xFFFFFFFF)
BLOCKS = st.lists(
    st.builds(
        ReportBlock, WORD, st.integers(0, 255), st.integers(-(1 << 23), (1 << 23) - 1), WORD, WORD, WORD, WORD
    ),
    max_size=31,
).map(tuple)
PACKETS = st.one_of(
    st.builds(SenderReport, WORD, st.integers(0, (1 << 64) - 1), WORD, WORD, WORD, BLOCKS),
    st.builds(ReceiverReport, WORD, BLOCKS),
    st.builds(Bye, st.lists(WORD, max_size=31).map(tuple)),
)

SR_WITH_BLOCK = bytes.fromhex(
    "81c8000c 00000001 e1d2c3b4 80000000 0000bb80 00000064 00001f40"  # SR of 1, half past a second
    "00000002 19ffffff 00010005 00000030 c3b48000 00008000"  # block about 2: 25/256, -1 lost, ½ s ago
)
BYE_WITH_REASON = bytes.fromhex("81cb0002 00000001 03717569")


def test_sender_report_from_its_figure() -> None:
    block = ReportBlock(2, 25, -1, 0x10005, 48, 0xC3B48000, 0x8000)
    report = SenderReport(1, 0xE1D2C3B480000000, 48000, 100, 8000, (block,))
    assert parse_rtcp_untrusted(SR_WITH_BLOCK) == [report]
    assert build_rtcp(report) == SR_WITH_BLOCK


def test_compound_keeps_order_and_skips_what_we_do_not_use() -> None:
    feedback = bytes.fromhex("8fcd0002 00000001 00000002")  # RTPFB, transport-wide feedback
    compound = SR_WITH_BLOCK + build_cname(1, "caller") + feedback + BYE_WITH_REASON
    kinds = [type(packet) for packet in parse_rtcp_untrusted(compound)]
    assert kinds == [SenderReport, Bye]


def test_profile_extension_after_the_blocks_is_ignored() -> None:
    report = bytes.fromhex("80c90002 00000001 ffffffff")
    assert parse_rtcp_untrusted(report) == [ReceiverReport(1, ())]


def test_padding_of_the_last_packet_is_taken_off() -> None:
    padded = bytes.fromhex("a1cb0002 00000001 00000004")
    assert parse_rtcp_untrusted(SR_WITH_BLOCK + padded)[1:] == [Bye((1,))]


@pytest.mark.parametrize("cname", ["", "a", "ab", "abc", "abcd", "ä" * 100])
def test_cname_chunk_ends_on_a_word_with_at_least_one_zero(cname: str) -> None:
    packet = build_cname(7, cname)
    text = cname.encode()
    assert len(packet) % 4 == 0
    assert packet[:2] == bytes((0x81, 202))
    assert int.from_bytes(packet[2:4]) == len(packet) // 4 - 1
    assert packet[8:10] == bytes((1, len(text)))
    assert packet[10:].startswith(text + b"\0")
    assert len(packet) - 10 - len(text) <= 4


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", RtcpReason.SHORT),
        (b"\x80\xc9\0", RtcpReason.SHORT),
        (bytes.fromhex("40c90001 00000001"), RtcpReason.VERSION),
        (bytes.fromhex("80c90002 00000001"), RtcpReason.LENGTH),
        (bytes.fromhex("80c9ffff 00000001"), RtcpReason.LENGTH),
        (bytes.fromhex("80c90000"), RtcpReason.SHORT),
        (bytes.fromhex("80c80001 00000001"), RtcpReason.SHORT),
        (bytes.fromhex("9fc90001 00000001"), RtcpReason.COUNT),
        (bytes.fromhex("9fcb0001 00000001"), RtcpReason.COUNT),
        (bytes.fromhex("a0c90001 00000000"), RtcpReason.PADDING),
        (bytes.fromhex("a0c90001 00000003"), RtcpReason.PADDING),
        (bytes.fromhex("a0c90001 00000008"), RtcpReason.PADDING),
        (bytes.fromhex("a0cb0001 00000004 80cb0000"), RtcpReason.PADDING),
    ],
)
def test_lies_are_refused_with_their_reason(data: bytes, reason: RtcpReason) -> None:
    with pytest.raises(MediaError) as refusal:
        parse_rtcp_untrusted(data)
    assert refusal.value.reason is reason


@given(st.lists(PACKETS, min_size=1, max_size=4))
def test_round_trip(packets: list[RtcpPacket]) -> None:
    assert parse_rtcp_untrusted(b"".join(map(build_rtcp, packets))) == packets


@given(st.binary(max_size=120))
def test_any_bytes_parse_or_are_refused(data: bytes) -> None:
    try:
        packets = parse_rtcp_untrusted(b"\x81" + data)
    except MediaError:
        return
    assert len(packets) <= len(data) // 4 + 1


def test_every_truncation_is_refused_unless_it_ends_between_packets() -> None:
    cname = build_cname(1, "caller")
    whole = SR_WITH_BLOCK + cname
    for length in range(len(whole)):
        if length == len(SR_WITH_BLOCK):
            assert len(parse_rtcp_untrusted(whole[:length])) == 1
            continue
        with pytest.raises(MediaError):
            parse_rtcp_untrusted(whole[:length])

from __future__ import annotations

import struct

import pytest
from aiortc.rtcsctptransport import (
    AbortChunk,
    CookieEchoChunk,
    DataChunk,
    ForwardTsnChunk,
    HeartbeatChunk,
    InitChunk,
    ReconfigChunk,
    SackChunk,
    parse_packet,
    serialize_packet,
)
from hypothesis import given
from hypothesis import strategies as st

from transceiver.transport.reasons import SctpReason
from transceiver.transport.sctp_guard import (
    MAX_ACKNOWLEDGED,
    MAX_STREAMS,
    carries_data_untrusted,
    find_fault_untrusted,
)

HEADER = bytes(12)


def _chunk(kind: int, body: bytes, length: int | None = None) -> bytes:
    return (
        struct.pack("!BBH", kind, 0, len(body) + 4 if length is None else length)
        + body
        + bytes(-len(body) & 3)
    )


def _init() -> InitChunk:
    chunk = InitChunk()
    chunk.params = [(0xC000, b""), (0x8008, b"\xc0\x82")]
    return chunk


def _sack(gaps: list[tuple[int, int]], duplicates: int = 0) -> SackChunk:
    chunk = SackChunk()
    chunk.gaps = gaps
    chunk.duplicates = [1] * duplicates
    return chunk


def _data(stream: int, body: bytes = b"x") -> DataChunk:
    chunk = DataChunk(flags=3)
    chunk.stream_id, chunk.user_data = stream, body
    return chunk


def _forward(*streams: int) -> ForwardTsnChunk:
    chunk = ForwardTsnChunk()
    chunk.streams = [(s, 1) for s in streams]
    return chunk


def _with_params(
    chunk: ReconfigChunk | HeartbeatChunk | AbortChunk,
) -> ReconfigChunk | HeartbeatChunk | AbortChunk:
    chunk.params = [(13, bytes(14)), (1, b"abc")]
    return chunk


GOOD = [
    _init(),
    _sack([]),
    _sack([(1, 1), (3, 40)], 2),
    _sack([(1, MAX_ACKNOWLEDGED)]),
    _data(0),
    _data(MAX_STREAMS - 1, bytes(1100)),
    _forward(0, 5),
    CookieEchoChunk(body=bytes(24)),
    _with_params(ReconfigChunk()),
    _with_params(HeartbeatChunk()),
    _with_params(AbortChunk()),
]
BAD = {
    "no chunk": (HEADER, SctpReason.MALFORMED),
    "chunk length below its header": (HEADER + _chunk(0, bytes(12), 3), SctpReason.MALFORMED),
    "chunk length of zero": (HEADER + _chunk(0, bytes(12), 0), SctpReason.MALFORMED),
    "chunk beyond the packet": (HEADER + _chunk(0, bytes(12), 40), SctpReason.MALFORMED),
    "DATA without its fields": (HEADER + _chunk(0, bytes(11)), SctpReason.MALFORMED),
    "INIT without its fields": (HEADER + _chunk(1, bytes(15)), SctpReason.MALFORMED),
    "INIT in company": (HEADER + bytes(_init()) + _chunk(11, b""), SctpReason.MALFORMED),
    "company and INIT": (HEADER + _chunk(11, b"") + bytes(_init()), SctpReason.MALFORMED),
    "parameter of length zero": (HEADER + _chunk(4, bytes(4)), SctpReason.BAD_PARAMETER),
    "parameter of length zero in INIT": (HEADER + _chunk(1, bytes(20)), SctpReason.BAD_PARAMETER),
    "parameter beyond its chunk": (HEADER + _chunk(130, b"\0\x0d\0\x40"), SctpReason.BAD_PARAMETER),
    "stream out of range": (HEADER + bytes(_data(MAX_STREAMS)), SctpReason.BAD_STREAM),
    "stream out of range later": (HEADER + bytes(_data(0)) + bytes(_data(65_535)), SctpReason.BAD_STREAM),
    "forgotten stream out of range": (HEADER + bytes(_forward(1, MAX_STREAMS)), SctpReason.BAD_STREAM),
    "half a stream": (HEADER + _chunk(192, bytes(6)), SctpReason.MALFORMED),
    "SACK with fewer blocks than it says": (
        HEADER + _chunk(3, bytes(8) + struct.pack("!HHHH", 2, 0, 1, 1)),
        SctpReason.MALFORMED,
    ),
    "SACK of a million chunks": (
        HEADER + bytes(_sack([(1, 65_535)] * 16)),
        SctpReason.BAD_ACKNOWLEDGEMENT,
    ),
    "SACK of one too many": (
        HEADER + bytes(_sack([(1, MAX_ACKNOWLEDGED + 1)])),
        SctpReason.BAD_ACKNOWLEDGEMENT,
    ),
    "SACK backwards": (HEADER + bytes(_sack([(9, 3)])), SctpReason.BAD_ACKNOWLEDGEMENT),
}


@pytest.mark.parametrize("chunk", GOOD, ids=lambda c: type(c).__name__)
def test_what_stacks_send_passes(chunk: DataChunk) -> None:
    assert find_fault_untrusted(serialize_packet(5000, 5000, 1, chunk)) is None


@pytest.mark.parametrize(("packet", "reason"), BAD.values(), ids=BAD)
def test_what_would_harm_is_named(packet: bytes, reason: SctpReason) -> None:
    assert find_fault_untrusted(packet) is reason


@given(st.binary(max_size=400))
def test_noise_never_raises(packet: bytes) -> None:
    find_fault_untrusted(packet)
    carries_data_untrusted(packet)


@given(st.sampled_from([c for c in GOOD if len(bytes(c)) < 200]), st.data())
def test_truncation_never_raises(chunk: DataChunk, data: st.DataObject) -> None:
    packet = serialize_packet(5000, 5000, 1, chunk)
    find_fault_untrusted(packet[: data.draw(st.integers(0, len(packet)))])


@given(
    st.lists(
        st.tuples(st.sampled_from([1, 2, 4, 5, 6, 9, 130]), st.binary(max_size=60)), min_size=1, max_size=4
    )
)
def test_what_passes_is_read_to_its_end_by_aiortc(chunks: list[tuple[int, bytes]]) -> None:
    """The stack's own parser loops for ever on a parameter of length zero; none gets to it."""
    packet = HEADER + b"".join(_chunk(kind, body) for kind, body in chunks)
    if find_fault_untrusted(packet) is None:
        from google_crc32c import value as crc32c

        parse_packet(packet[:8] + struct.pack("<L", crc32c(packet)) + packet[12:])


def test_data_is_found_behind_whatever_chunk() -> None:
    assert carries_data_untrusted(HEADER + bytes(_sack([(1, 2)])) + bytes(_data(1)))
    assert carries_data_untrusted(HEADER + _chunk(5, b"") + bytes(_sack([])) + bytes(_data(1)))
    assert carries_data_untrusted(HEADER + bytes(_data(1)))
    assert not carries_data_untrusted(HEADER + bytes(_sack([])))
    assert not carries_data_untrusted(HEADER + bytes(_init()))

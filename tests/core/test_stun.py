"""core.stun: RFC 5769 vectors, every refusal, and what real clients send."""

from __future__ import annotations

import socket
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import stun
from core.addr import Endpoint
from core.demux import PacketKind, classify_untrusted
from core.errors import StunError
from core.stun import Attribute, Message, MessageType, StunReason, parse_untrusted
from core.ufrag import split_username_untrusted
from tests.pcap import CAPTURES, Datagram, read_datagrams, read_sdp_value

PASSWORD = b"VOkJxbRl1RmTxUk/WvJxBt"
TRANSACTION = bytes.fromhex("b7e7a701bc34d686fa87dfae")
# RFC 5769 §2.1, §2.2, §2.3
REQUEST = bytes.fromhex(
    "000100582112a442b7e7a701bc34d686fa87dfae802200105354554e207465737420636c69656e74002400046e0001ff"
    "80290008932ff9b151263b36000600096576746a3a68367659202020000800149aeaa70cbfd8cb56781ef2b5b2d3f249"
    "c1b571a280280004e57a3bcf"
)
RESPONSE_IPV4 = bytes.fromhex(
    "0101003c2112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f7220002000080001a147e112a643"
    "000800142b91f599fd9e90c38c7489f92af9ba53f06be7d780280004c07d4c96"
)
RESPONSE_IPV6 = bytes.fromhex(
    "010100482112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f7220002000140002a1470113a9fa"
    "a5d3f179bc25f4b5bed2b9d900080014a382954e4be67bf11784c97c8292c275bfe3ed4180280004c8fb0b4c"
)
VECTORS = [REQUEST, RESPONSE_IPV4, RESPONSE_IPV6]


def reason_of(data: bytes) -> StunReason:
    with pytest.raises(StunError) as caught:
        parse_untrusted(data)
    assert isinstance(caught.value.reason, StunReason)
    return caught.value.reason


def raw(*attributes: tuple[int, bytes], kind: int = 1, cookie: int = stun.MAGIC_COOKIE) -> bytes:
    """A message of attributes as they are given, without integrity or fingerprint."""
    body = b"".join(struct.pack("!HH", t, len(v)) + v + bytes(-len(v) % 4) for t, v in attributes)
    return struct.pack("!HHL12s", kind, len(body), cookie, TRANSACTION) + body


def with_length(data: bytes, length: int) -> bytes:
    return data[:2] + struct.pack("!H", length) + data[4:]


def test_rfc_5769_request() -> None:
    message = parse_untrusted(REQUEST)
    assert message.type == MessageType.BINDING_REQUEST
    assert message.transaction_id == TRANSACTION
    assert message.get(Attribute.SOFTWARE) == b"STUN test client"
    assert message.get(Attribute.PRIORITY) == stun.encode_u32(0x6E0001FF)
    assert message.get(Attribute.ICE_CONTROLLED) == stun.encode_u64(0x932FF9B151263B36)
    assert message.get(Attribute.USERNAME) == b"evtj:h6vY"
    assert message.get(Attribute.USE_CANDIDATE) is None
    assert message.unknown_required == []
    assert message.is_authentic(PASSWORD)


@pytest.mark.parametrize(
    ("data", "endpoint"),
    [
        (RESPONSE_IPV4, Endpoint("192.0.2.1", 32853)),
        (RESPONSE_IPV6, Endpoint("2001:db8:1234:5678:11:2233:4455:6677", 32853)),
    ],
)
def test_rfc_5769_responses(data: bytes, endpoint: Endpoint) -> None:
    message = parse_untrusted(data)
    assert message.type == MessageType.BINDING_RESPONSE
    assert message.get(Attribute.SOFTWARE) == b"test vector"
    assert message.is_authentic(PASSWORD)
    value = message.get(Attribute.XOR_MAPPED_ADDRESS)
    assert value is not None
    assert stun.parse_xor_address_untrusted(value, TRANSACTION) == endpoint
    assert stun.encode_xor_address(endpoint, TRANSACTION) == value


@pytest.mark.parametrize("data", VECTORS)
def test_a_wrong_password_is_not_authentic(data: bytes) -> None:
    message = parse_untrusted(data)
    for password in (b"", PASSWORD[:-1], PASSWORD + b"x", PASSWORD.lower()):
        assert not message.is_authentic(password)


@pytest.mark.parametrize("data", VECTORS)
def test_truncation_at_every_length_is_refused(data: bytes) -> None:
    for size in range(stun.HEADER_BYTES):
        assert reason_of(data[:size]) is StunReason.TRUNCATED
    for size in range(stun.HEADER_BYTES, len(data)):
        assert reason_of(data[:size]) is StunReason.BAD_LENGTH


@pytest.mark.parametrize("data", VECTORS)
def test_truncation_that_lies_about_its_length_is_refused_or_not_authentic(data: bytes) -> None:
    for size in range(stun.HEADER_BYTES, len(data), 4):
        cut = with_length(data[:size], size - stun.HEADER_BYTES)
        try:
            is_authentic = parse_untrusted(cut).is_authentic(PASSWORD)
        except StunError:
            is_authentic = False
        assert is_authentic == (size == len(data) - 8)  # there, only FINGERPRINT is cut off


@pytest.mark.parametrize("data", VECTORS)
def test_no_single_bit_can_be_flipped(data: bytes) -> None:
    without_fingerprint = with_length(data[:-8], len(data) - 8 - stun.HEADER_BYTES)
    for bit in range(len(without_fingerprint) * 8):
        flipped = bytearray(without_fingerprint)
        flipped[bit // 8] ^= 1 << bit % 8
        try:
            message = parse_untrusted(bytes(flipped))
        except StunError:
            continue
        assert not message.is_authentic(PASSWORD), f"bit {bit}"


TABLE = {
    "empty": (b"", StunReason.TRUNCATED),
    "header cut": (REQUEST[:19], StunReason.TRUNCATED),
    "wrong cookie": (raw(cookie=0x2112A443), StunReason.BAD_COOKIE),
    "RFC 3489, no cookie": (raw(cookie=0), StunReason.BAD_COOKIE),
    "top bits set": (raw(kind=0x8001), StunReason.BAD_TYPE),
    "second bit set": (raw(kind=0x4001), StunReason.BAD_TYPE),
    "length too short": (with_length(REQUEST, 0), StunReason.BAD_LENGTH),
    "length too long": (with_length(REQUEST, len(REQUEST)), StunReason.BAD_LENGTH),
    "length all ones": (with_length(REQUEST, 0xFFFF), StunReason.BAD_LENGTH),
    "length not a multiple of four": (with_length(raw() + b"\0\0", 2), StunReason.BAD_LENGTH),
    "trailing bytes": (REQUEST + bytes(4), StunReason.BAD_LENGTH),
    "attribute longer than the message": (
        with_length(raw() + struct.pack("!HH", 6, 5) + b"abcd", 8),
        StunReason.BAD_ATTRIBUTE,
    ),
    "attribute of 65535 bytes": (
        with_length(raw() + struct.pack("!HH", 6, 0xFFFF), 4),
        StunReason.BAD_ATTRIBUTE,
    ),
    "padding missing": (with_length(raw() + struct.pack("!HH", 6, 1), 4), StunReason.BAD_ATTRIBUTE),
    "integrity of 16 bytes": (raw((8, bytes(16))), StunReason.BAD_ATTRIBUTE),
    "integrity of 32 bytes": (raw((8, bytes(32))), StunReason.BAD_ATTRIBUTE),
    "a hundred attributes": (raw(*[(0x8022, b"")] * 100), StunReason.TOO_MANY_ATTRIBUTES),
    "one attribute too many": (
        raw(*[(0x8022, b"")] * (stun.MAX_ATTRIBUTES + 1)),
        StunReason.TOO_MANY_ATTRIBUTES,
    ),
    "fingerprint of 3 bytes": (raw((0x8028, b"abc")), StunReason.BAD_FINGERPRINT),
    "fingerprint off by one bit": (REQUEST[:-1] + b"\xce", StunReason.BAD_FINGERPRINT),
    "fingerprint not last": (
        with_length(REQUEST + struct.pack("!HH", 0x8022, 0), len(REQUEST) - 16),
        StunReason.BAD_FINGERPRINT,
    ),
}


@pytest.mark.parametrize(("data", "reason"), TABLE.values(), ids=TABLE.keys())
def test_what_breaks_a_rule_is_refused_with_its_reason(data: bytes, reason: StunReason) -> None:
    assert reason_of(data) is reason


def test_the_table_reaches_every_reason() -> None:
    assert {reason for _, reason in TABLE.values()} == set(StunReason)


def test_as_many_attributes_as_are_allowed_parse() -> None:
    parse_untrusted(raw(*[(0x8022, b"")] * stun.MAX_ATTRIBUTES))


def test_the_first_of_two_equal_attributes_counts() -> None:
    message = parse_untrusted(raw((6, b"first"), (6, b"second")))
    assert message.get(Attribute.USERNAME) == b"first"


def test_what_follows_the_integrity_is_not_read() -> None:
    """Anyone on the path could have appended it (RFC 8489 §14.5)."""
    signed = stun.encode(1, TRANSACTION, [(6, b"a:b")], PASSWORD)[:-8]
    smuggled = struct.pack("!HH", Attribute.USE_CANDIDATE, 0) + struct.pack("!HH4s", 6, 3, b"c:d\0")
    data = with_length(signed + smuggled, len(signed) + len(smuggled) - stun.HEADER_BYTES)
    message = parse_untrusted(data)
    assert message.is_authentic(PASSWORD)
    assert message.get(Attribute.USE_CANDIDATE) is None
    assert message.get(Attribute.USERNAME) == b"a:b"


def test_a_message_without_integrity_is_not_authentic() -> None:
    assert not parse_untrusted(stun.encode(1, TRANSACTION, [(6, b"a:b")])).is_authentic(b"")


def test_unknown_attributes_are_listed_when_they_must_be_understood() -> None:
    message = parse_untrusted(raw((0x7FFF, b""), (0x8001, b""), (6, b"a:b"), (0x0001, b"\0" * 8)))
    assert message.unknown_required == [0x7FFF]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (REQUEST, True),
        (memoryview(REQUEST), True),
        (REQUEST[:20], True),
        (REQUEST[:19], False),
        (RESPONSE_IPV4, False),
        (raw(cookie=1), False),
        (b"", False),
    ],
)
def test_the_cheap_gate(data: bytes | memoryview, expected: bool) -> None:
    assert stun.is_binding_request_untrusted(data) is expected


ATTRIBUTES = st.lists(
    st.tuples(
        st.integers(0, 0xFFFF).filter(
            lambda t: t not in (Attribute.MESSAGE_INTEGRITY, Attribute.FINGERPRINT)
        ),
        st.binary(max_size=64),
    ),
    max_size=stun.MAX_ATTRIBUTES - 2,
)


@given(
    st.sampled_from(MessageType),
    st.binary(min_size=12, max_size=12),
    ATTRIBUTES,
    st.none() | st.binary(min_size=1, max_size=80),
)
def test_what_is_written_is_read_back(
    kind: MessageType, transaction_id: bytes, attributes: list[tuple[int, bytes]], password: bytes | None
) -> None:
    data = stun.encode(kind, transaction_id, attributes, password)
    message = parse_untrusted(data)
    assert (message.type, message.transaction_id) == (kind, transaction_id)
    for attribute, value in dict(reversed(attributes)).items():
        assert message.get(attribute) == value
    assert message.is_authentic(b"" if password is None else password) == (password is not None)
    assert struct.unpack("!L", data[-4:])[0] == zlib.crc32(data[:-8]) ^ 0x5354554E


@given(
    st.binary(max_size=200) | st.binary(max_size=120).map(lambda tail: with_length(raw() + tail, len(tail)))
)
def test_any_bytes_parse_or_are_refused(data: bytes) -> None:
    try:
        message = parse_untrusted(data)
    except StunError:
        return
    assert len(message.offsets) <= stun.MAX_ATTRIBUTES
    for attribute, (offset, length) in message.offsets.items():
        assert stun.HEADER_BYTES + 4 <= offset <= offset + length <= len(data)
        assert len(message.get(attribute) or b"") == length


@pytest.mark.parametrize("size", [0, 11, 13])
def test_a_transaction_id_of_another_length_is_not_written(size: int) -> None:
    with pytest.raises(ValueError, match="12 bytes"):
        stun.encode(1, bytes(size), [])


@given(st.ip_addresses().map(lambda a: socket.inet_ntop(2 if a.version == 4 else 10, a.packed)),
       st.integers(0, 65535), st.binary(min_size=12, max_size=12))  # fmt: skip
def test_addresses_survive_the_mask(host: str, port: int, transaction_id: bytes) -> None:
    value = stun.encode_xor_address(Endpoint(host, port), transaction_id)
    assert stun.parse_xor_address_untrusted(value, transaction_id) == (host, port)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"\0\1",
        b"\0\1\0\0",
        b"\0\1\0\0abc",
        b"\0\1\0\0abcde",
        b"\0\2\0\0abcd",
        b"\0\3\0\0abcd",
        b"\0\0\0\0",
    ],
)
def test_a_malformed_address_is_refused(value: bytes) -> None:
    with pytest.raises(StunError) as caught:
        stun.parse_xor_address_untrusted(value, TRANSACTION)
    assert caught.value.reason is StunReason.BAD_ATTRIBUTE


@pytest.mark.parametrize("code", [300, 400, 401, 420, 487, 500, 699])
def test_error_codes_survive(code: int) -> None:
    value = stun.encode_error_code(code, "Role Conflict")
    assert stun.parse_error_code_untrusted(value) == code
    assert value[4:] == b"Role Conflict"


@pytest.mark.parametrize("value", [b"", b"\0\0\4", b"\0\0\2\0", b"\0\0\7\0", b"\0\0\4\144"])
def test_a_malformed_error_code_is_refused(value: bytes) -> None:
    with pytest.raises(StunError) as caught:
        stun.parse_error_code_untrusted(value)
    assert caught.value.reason is StunReason.BAD_ATTRIBUTE


ALL_CAPTURES = sorted(CAPTURES.glob("*.pcap"))
WITH_SDP = [p for p in ALL_CAPTURES if p.with_suffix(".answer.sdp").exists()]


def stun_datagrams(capture: Path) -> Iterator[tuple[Datagram, Message]]:
    for datagram in read_datagrams(capture):
        if classify_untrusted(datagram.payload) is PacketKind.STUN:
            yield datagram, parse_untrusted(datagram.payload)


@pytest.mark.parametrize("capture", ALL_CAPTURES, ids=lambda p: p.stem)
def test_everything_that_real_clients_send_parses(capture: Path) -> None:
    requests = 0
    for datagram, message in stun_datagrams(capture):
        assert message.unknown_required == []
        assert Attribute.FINGERPRINT in message.offsets
        if message.type == MessageType.BINDING_REQUEST:
            requests += 1
            assert stun.is_binding_request_untrusted(datagram.payload)
            assert split_username_untrusted(message.get(Attribute.USERNAME) or b"") is not None
    assert requests > 0


@pytest.mark.parametrize("capture", WITH_SDP, ids=lambda p: p.stem)
def test_checks_of_real_clients_are_authentic_and_written_back_to_the_byte(capture: Path) -> None:
    """The SDP beside the capture has the password; nothing but our writer may be needed to say the same."""
    secrets = {
        read_sdp_value(sdp, "ice-ufrag").encode(): read_sdp_value(sdp, "ice-pwd").encode()
        for sdp in (capture.with_suffix(".answer.sdp"), capture.with_suffix(".offer.sdp"))
    }
    password_of: dict[bytes, bytes] = {}
    for datagram, message in stun_datagrams(capture):
        if message.type == MessageType.BINDING_REQUEST:
            halves = split_username_untrusted(message.get(Attribute.USERNAME) or b"")
            assert halves is not None
            assert set(halves) == set(secrets)
            password_of[message.transaction_id] = secrets[halves[0]]
        password = password_of[message.transaction_id]
        assert message.is_authentic(password)
        assert not message.is_authentic(password[::-1])
        attributes = [
            (attribute, message.get(attribute) or b"")
            for attribute in message.offsets
            if attribute not in (Attribute.MESSAGE_INTEGRITY, Attribute.FINGERPRINT)
        ]
        assert stun.encode(message.type, message.transaction_id, attributes, password) == datagram.payload


@pytest.mark.parametrize("capture", WITH_SDP, ids=lambda p: p.stem)
def test_responses_name_the_address_that_asked(capture: Path) -> None:
    responses = 0
    for datagram, message in stun_datagrams(capture):
        value = message.get(Attribute.XOR_MAPPED_ADDRESS)
        if value is not None:
            responses += 1
            mapped = stun.parse_xor_address_untrusted(value, message.transaction_id)
            assert mapped == datagram.destination
    assert responses > 0

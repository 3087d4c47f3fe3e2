"""core.token: the tag's algorithm, every refusal, and time."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from siphashc import siphash

from core.errors import TokenError
from core.keyring import Keyring
from core.token import (
    MAX_LIFETIME_MIN,
    TAG_OFFSET,
    TOKEN_BYTES,
    UFRAG_CHARS,
    Token,
    TokenReason,
    expiry_after,
    is_expired,
    mint,
    open_untrusted,
)
from core.ufrag import ICE_CHARS
from tests.vectors import token_v1

VECTORS = Path(token_v1.__file__).with_name("token-v1.json")
KEYRING = Keyring({0: bytes(range(32)), 5: b"k" * 32, 31: bytes(32)}, mint_with=5)
NOW = 29_900_000
GOOD = Token(5, 7, 0x01020304, 40000, expiry_after(NOW, 60), 99)

tokens = st.builds(
    Token,
    key_id=st.sampled_from([0, 5, 31]),
    cluster=st.integers(0, 65535),
    host=st.integers(0, 0xFFFFFFFF),
    port=st.integers(0, 65535),
    expiry_min=st.integers(0, 65535),
    session=st.integers(0, 65535),
)


def reason_of(ufrag: bytes, now_min: int = NOW) -> TokenReason:
    with pytest.raises(TokenError) as caught:
        open_untrusted(ufrag, KEYRING, now_min)
    assert isinstance(caught.value.reason, TokenReason)
    return caught.value.reason


def altered(ufrag: str, bit: int) -> bytes:
    raw = bytearray(base64.b64decode(ufrag))
    raw[bit // 8] ^= 1 << bit % 8
    return base64.b64encode(raw)


# Outputs of the reference implementation for key 00…0f and messages "", 00, 00 01, …, as bytes.
SIPHASH_2_4 = bytes.fromhex(
    """
    310e0edd47db6f72 fd67dc93c539f874 5a4fa9d909806c0d 2d7efbd796666785 b7877127e09427cf 8da699cd64557618
    cee3fe586e46c9cb 37d1018bf50002ab 6224939a79f5f593 b0e4a90bdf82009e f3b9dd94c5bb5d7a a7ad6b22462fb3f4
    fbe50e86bc8f1e75 903d84c02756ea14 eef27a8e90ca23f7 e545be4961ca29a1
"""
)


@pytest.mark.parametrize("length", range(16))
def test_siphash_is_2_4_and_its_bytes_are_little_endian(length: int) -> None:
    number = siphash(bytes(range(16)), bytes(range(length)))
    assert number.to_bytes(8, "little") == SIPHASH_2_4[8 * length :][:8]


def test_the_tag_is_the_siphash_of_the_fields_in_reference_byte_order() -> None:
    raw = base64.b64decode(mint(GOOD, KEYRING))
    key = KEYRING.tag_key(5)
    assert key is not None
    assert raw[TAG_OFFSET:] == siphash(key, raw[:TAG_OFFSET]).to_bytes(8, "little")
    assert raw[:TAG_OFFSET].hex() == f"250007010203049c40{GOOD.expiry_min:04x}0063"


def test_the_vector_file_is_what_the_code_does() -> None:
    assert json.loads(VECTORS.read_text()) == json.loads(token_v1.dump()), "see tests/vectors/token_v1.py"


def test_the_vectors_reach_every_reason_that_a_ufrag_can_have() -> None:
    reasons = {entry["reason"] for entry in json.loads(VECTORS.read_text())["invalid"]}
    assert reasons == set(TokenReason) - {TokenReason.NO_USERNAME}


@pytest.mark.parametrize("entry", json.loads(VECTORS.read_text())["valid"], ids=lambda e: e["name"])
def test_valid_vectors(entry: dict[str, object]) -> None:
    """From the file alone, as another language would."""
    token = open_untrusted(str(entry["ufrag"]).encode(), token_v1.KEYRING, int(str(entry["now_min"])))
    assert {f: getattr(token, f) for f in Token.__slots__} == {f: entry[f] for f in Token.__slots__}
    assert mint(token, token_v1.KEYRING) == entry["ufrag"]


@given(tokens)
def test_what_is_minted_is_opened_until_it_expires(token: Token) -> None:
    ufrag = mint(token, KEYRING)
    assert len(ufrag) == UFRAG_CHARS
    assert ICE_CHARS.issuperset(ufrag.encode())
    assert open_untrusted(ufrag.encode(), KEYRING, token.expiry_min) == token
    assert open_untrusted(ufrag.encode(), KEYRING, token.expiry_min + (1 << 16) - MAX_LIFETIME_MIN) == token
    assert reason_of(ufrag.encode(), token.expiry_min + 1) is TokenReason.EXPIRED


def test_no_single_bit_can_be_flipped() -> None:
    ufrag = mint(GOOD, KEYRING)
    reasons = {bit: reason_of(altered(ufrag, bit)) for bit in range(TOKEN_BYTES * 8)}
    assert {reasons[bit] for bit in (5, 6, 7)} == {TokenReason.BAD_VERSION}
    assert {reasons[bit] for bit in range(8, TOKEN_BYTES * 8)} == {TokenReason.BAD_TAG}
    assert {reasons[bit] for bit in range(5)} <= {TokenReason.BAD_TAG, TokenReason.UNKNOWN_KEY}


@pytest.mark.parametrize("length", [n for n in range(300) if n != UFRAG_CHARS])
def test_every_other_length_is_refused(length: int) -> None:
    assert reason_of(b"A" * length) is TokenReason.BAD_LENGTH


@pytest.mark.parametrize("byte", [b for b in range(256) if b not in ICE_CHARS])
def test_every_byte_outside_of_the_alphabet_is_refused_wherever_it_is(byte: int) -> None:
    ufrag = mint(GOOD, KEYRING).encode()
    for position in range(UFRAG_CHARS):
        wrong = ufrag[:position] + bytes([byte]) + ufrag[position + 1 :]
        assert reason_of(wrong) is TokenReason.BAD_ALPHABET


@pytest.mark.parametrize("padding", range(1, 29))
def test_padding_in_place_of_characters_is_refused(padding: int) -> None:
    ufrag = mint(GOOD, KEYRING).encode()
    assert reason_of(ufrag[: UFRAG_CHARS - padding] + b"=" * padding) is TokenReason.BAD_ALPHABET


def test_an_unknown_key_id_is_refused() -> None:
    other = Keyring({6: b"k" * 32}, 6)
    ufrag = mint(Token(6, 7, 1, 40000, GOOD.expiry_min, 1), other)
    assert reason_of(ufrag.encode()) is TokenReason.UNKNOWN_KEY


def test_a_key_of_the_same_id_but_another_master_is_refused() -> None:
    assert reason_of(mint(GOOD, Keyring({5: b"K" * 32}, 5)).encode()) is TokenReason.BAD_TAG


@given(st.binary(max_size=64) | st.binary(min_size=21, max_size=21).map(base64.b64encode))
def test_garbage_is_refused(garbage: bytes) -> None:
    reason_of(garbage)


@pytest.mark.parametrize(
    ("expiry_min", "now_min", "expected"),
    [
        # RFC 1982 §3.2 with SERIAL_BITS 16
        (0, 0, False),
        (0, 1, True),
        (1, 0, False),
        (65535, 65535, False),
        (65535, 65536, True),
        (65535, 0, True),
        (0, 65535, False),
        (100, 65500, False),
        (65500, 100, True),
        (0, 32767, True),
        (32767, 0, False),
        (0, 32768, False),  # undefined in RFC 1982; the fast path decides the same
        (32768, 0, False),
        (44, 300, True),
        (100, 100 + (456 << 16), False),
        (100, 101 + (456 << 16), True),
    ],
)
def test_expiry_is_a_serial_number(expiry_min: int, now_min: int, expected: bool) -> None:
    assert is_expired(expiry_min, now_min) is expected


@given(st.integers(0, 1 << 32), st.integers(0, MAX_LIFETIME_MIN))
def test_a_token_lives_exactly_as_long_as_it_was_meant_to(now_min: int, lifetime: int) -> None:
    expiry = expiry_after(now_min, lifetime)
    assert 0 <= expiry <= 0xFFFF
    assert not is_expired(expiry, now_min)
    assert not is_expired(expiry, now_min + lifetime)
    assert is_expired(expiry, now_min + lifetime + 1)


@pytest.mark.parametrize("lifetime", [-1, MAX_LIFETIME_MIN + 1])
def test_a_life_longer_than_serial_numbers_can_tell_is_refused(lifetime: int) -> None:
    with pytest.raises(ValueError, match="0–32767 minutes"):
        expiry_after(NOW, lifetime)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("cluster", 65536),
        ("host", 1 << 32),
        ("port", 65536),
        ("expiry_min", 65536),
        ("session", 65536),
        ("host", -1),
    ],
)
def test_a_field_that_does_not_fit_is_not_minted(field: str, value: int) -> None:
    fields = {f: getattr(GOOD, f) for f in Token.__slots__} | {field: value}
    with pytest.raises(ValueError, match="does not fit"):
        mint(Token(**fields), KEYRING)


def test_a_token_is_not_minted_with_a_key_that_is_not_there() -> None:
    with pytest.raises(ValueError, match="no key with id 6"):
        mint(Token(6, 7, 1, 40000, 0, 1), KEYRING)

"""core.keyring: derivation, and which ids are accepted."""

from __future__ import annotations

import base64
import hmac
import json

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given
from hypothesis import strategies as st

from core.keyring import MASTER_BYTES, PASSWORD_CHARS, Keyring, Purpose, hkdf_sha256
from core.ufrag import ICE_CHARS

MASTER = bytes(range(32))


def test_rfc_5869_a_3_without_salt() -> None:
    """The vector has 42 bytes, of which ours is the first block."""
    output = bytes.fromhex(
        "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"
    )
    for length in (16, 32):
        assert hkdf_sha256(b"\x0b" * 22, b"", length) == output[:length]


@given(st.binary(min_size=1, max_size=64), st.binary(max_size=40), st.integers(1, 32))
def test_derivation_agrees_with_another_implementation(master: bytes, info: bytes, length: int) -> None:
    assert hkdf_sha256(master, info, length) == HKDF(SHA256(), length, None, info).derive(master)


def test_more_than_one_block_is_refused_and_not_cut() -> None:
    with pytest.raises(ValueError, match="32 bytes, not 33"):
        hkdf_sha256(MASTER, b"", 33)


def test_tag_and_password_keys_differ_between_ids_and_purposes() -> None:
    keyring = Keyring({0: MASTER, 31: bytes(32)}, mint_with=31)
    ufrag = b"A" * 28
    assert keyring.key_ids == [0, 31]
    assert keyring.mint_with == 31
    assert keyring.tag_key(0) == hkdf_sha256(MASTER, b"voxpop token v1", 16)
    assert keyring.tag_key(0) != keyring.tag_key(31)
    assert keyring.ice_password(0, ufrag) != keyring.ice_password(31, ufrag)


def test_the_password_is_the_hmac_of_the_ufrag() -> None:

    ufrag = b"abcd" * 7
    digest = hmac.digest(hkdf_sha256(MASTER, b"voxpop ice-pwd v1", 32), ufrag, "sha256")
    password = Keyring({3: MASTER}, 3).ice_password(3, ufrag)
    assert base64.b64decode(password) == digest[:24]
    assert len(password) == PASSWORD_CHARS
    assert ICE_CHARS.issuperset(password)


def test_the_mac_of_records_has_a_key_of_its_own() -> None:
    keyring = Keyring({3: MASTER}, 3)
    key = hkdf_sha256(MASTER, b"voxpop flow record v1", 32)
    assert keyring.record_mac(3, b"text") == hmac.digest(key, b"text", "sha256")
    with pytest.raises(KeyError):
        keyring.record_mac(4, b"text")


def test_a_share_has_the_keys_of_its_purposes_and_no_others() -> None:
    keyring = Keyring({3: MASTER, 7: bytes(32)}, 7)
    shared = json.dumps(keyring.share((Purpose.TAG, Purpose.PASSWORD)))
    part = Keyring.of_share(json.loads(shared))
    assert (part.key_ids, part.mint_with) == ([3, 7], 7)
    assert [part.tag_key(key_id) for key_id in (3, 7, 8)] == [keyring.tag_key(3), keyring.tag_key(7), None]
    assert part.ice_password(3, b"u") == keyring.ice_password(3, b"u")
    for mac in (
        part.referral_mac,
        part.record_mac,
        part.heartbeat_mac,
        part.session_mac,
        part.client_secret_mac,
    ):
        with pytest.raises(KeyError):
            mac(3, b"text")
    for secret in (MASTER, *(hkdf_sha256(MASTER, each.info, 32) for each in [*Purpose][2:])):
        assert base64.b64encode(secret).decode() not in shared
    assert json.loads(json.dumps(part.share([*Purpose]))) == json.loads(shared)


def test_an_unknown_id_has_no_key() -> None:
    keyring = Keyring({3: MASTER}, 3)
    assert keyring.tag_key(4) is None
    with pytest.raises(KeyError):
        keyring.ice_password(4, b"A" * 28)


@pytest.mark.parametrize(
    ("masters", "mint_with", "complaint"),
    [
        ({}, 0, "no key with id 0"),
        ({1: MASTER}, 2, "no key with id 2"),
        ({32: MASTER}, 32, "key id 32 is not 0–31"),
        ({-1: MASTER}, -1, "key id -1 is not 0–31"),
        ({1: MASTER[:-1]}, 1, "key 1 has 31 bytes, not 32"),
        ({1: MASTER + b"x"}, 1, "key 1 has 33 bytes, not 32"),
    ],
)
def test_a_keyring_that_cannot_work_is_refused(
    masters: dict[int, bytes], mint_with: int, complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        Keyring(masters, mint_with)


def test_its_text_shows_ids_and_no_secret() -> None:
    assert MASTER_BYTES == 32
    assert repr(Keyring({3: MASTER, 1: MASTER}, 3)) == "Keyring(ids=[1, 3], mint_with=3)"

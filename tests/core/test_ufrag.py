"""core.ufrag: the USERNAME of a check."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.keyring import Keyring
from core.token import Token, mint
from core.ufrag import ICE_CHARS, shorten, split_username_untrusted


@pytest.mark.parametrize(
    ("username", "expected"),
    [
        (b"server:client", (b"server", b"client")),
        (b"server:", (b"server", b"")),
        (b":client", (b"", b"client")),
        (b":", (b"", b"")),
        (b"a:b:c", (b"a", b"b:c")),
        (b"", None),
        (b"no colon", None),
    ],
)
def test_the_receiver_comes_first(username: bytes, expected: tuple[bytes, bytes] | None) -> None:
    assert split_username_untrusted(username) == expected


@given(st.binary(max_size=600))
def test_any_bytes_split_or_do_not(username: bytes) -> None:
    halves = split_username_untrusted(username)
    assert (halves is None) == (b":" not in username)
    if halves is not None:
        assert b":".join(halves) == username
        assert b":" not in halves[0]


def test_the_ice_alphabet_is_that_of_base64() -> None:
    assert frozenset((string.ascii_letters + string.digits + "+/").encode()) == ICE_CHARS


@given(st.text(string.ascii_letters, max_size=256))
def test_what_is_shown_of_a_ufrag_cannot_be_used(ufrag: str) -> None:
    shown = shorten(ufrag).strip("…")
    assert shown in ufrag
    assert len(shown) <= len(ufrag) / 7


def test_two_sessions_of_one_process_are_told_apart_in_a_log() -> None:
    keyring = Keyring({1: bytes(32)}, 1)
    shown = {shorten(mint(Token(1, 7, 9, 40000, 0, session), keyring)) for session in range(2000)}
    assert len(shown) == 2000

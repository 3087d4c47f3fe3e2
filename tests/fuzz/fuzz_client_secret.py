"""Fuzz client secrets, which browsers present in place of an API key.

Invariant: any text raises a Refusal; only what the mint has made is read, and says what the
mint was told.
"""

from __future__ import annotations

from core.keyring import Keyring
from tests.fuzz.mutation import changed
from transceiver.signaling.client_secrets import (
    ClientSecret,
    SecretKeys,
    mint_client_secret,
    read_client_secret_untrusted,
)
from transceiver.signaling.refusals import Refusal

KEYS = SecretKeys(Keyring({1: bytes(range(32)), 7: bytes(32)}, 7), {"web-shop": "0" * 64})
NOW_S = 1_900_000_000
SECRET = ClientSecret("web-shop", NOW_S + 600, {"instructions": "Be brief."})
GOOD = mint_client_secret(KEYS, SECRET)


def test_one_input(data: bytes) -> None:
    """Read the input as it is; then as changes to a good one."""
    _check(data.decode("utf-8", "surrogateescape"))
    _check(changed(GOOD, data))


def _check(text: str) -> None:
    try:
        secret = read_client_secret_untrusted(text, KEYS, NOW_S)
    except Refusal:
        return
    assert text == GOOD
    assert secret == SECRET

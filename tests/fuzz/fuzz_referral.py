"""Fuzz referrals, by which one region vouches for a caller to another.

Invariant: any text raises a Refusal; only what the mint has made is read, and says what the
mint was told.
"""

from __future__ import annotations

from core.keyring import Keyring
from tests.fuzz.mutation import changed
from transceiver.signaling.referrals import (
    ReferralKeys,
    mint_referral,
    offer_digest,
    read_referral_untrusted,
)
from transceiver.signaling.refusals import Refusal

KEYS = ReferralKeys(Keyring({1: bytes(range(32)), 7: bytes(32)}, 7), {"web-shop": "0" * 64})
NOW_S = 1_900_000_000
OFFER = "v=0\r\n"
GOOD = mint_referral(KEYS, "web-shop", OFFER, NOW_S)


def test_one_input(data: bytes) -> None:
    """Read the input as it is; then as changes to a good one."""
    _check(data.decode("utf-8", "surrogateescape"))
    _check(changed(GOOD, data))


def _check(text: str) -> None:
    try:
        referral = read_referral_untrusted(text, KEYS, NOW_S)
    except Refusal:
        return
    assert text == GOOD
    assert (referral.caller, referral.offer) == ("web-shop", offer_digest(OFFER))

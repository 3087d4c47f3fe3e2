"""transceiver.signaling.referrals: what one region vouches for, and what another believes of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.keyring import Keyring
from tests.transceiver.descriptions import CHROMIUM
from transceiver.signaling.referrals import (
    LIFETIME_S,
    TOLERANCE_S,
    Referral,
    ReferralKeys,
    Referrer,
    mint_referral,
    offer_digest,
    read_referral_untrusted,
)
from transceiver.signaling.refusals import HttpReason, Refusal

NOW_S = 1_900_000_000
KEYRING = Keyring({1: bytes(range(32)), 7: bytes(32)}, 7)
DIGESTS = {"web-shop": "0" * 64, "a": "ab" * 32}
KEYS = ReferralKeys(KEYRING, DIGESTS)
REFERRAL = mint_referral(KEYS, "web-shop", CHROMIUM, NOW_S)


def test_a_referral_says_who_calls_with_which_offer() -> None:
    referral = read_referral_untrusted(REFERRAL, KEYS, NOW_S)
    assert referral == Referral("web-shop", offer_digest(CHROMIUM))
    assert referral.covers(CHROMIUM)
    assert not referral.covers(CHROMIUM + " ")
    assert REFERRAL.replace(".", "").replace("-", "").replace("_", "").isalnum(), (
        "it stands in a URL as it is"
    )


def test_its_text_is_fixed_for_regions_of_other_versions() -> None:
    assert mint_referral(KEYS, "a", "v=0\r\n", NOW_S) == (
        "7.1900000030.a.TPV2JwlfvEiG3jePyzQHkQ.-q54x1IWhY__GGcOr6Bzlw"
    )


@pytest.mark.parametrize(
    ("later_s", "is_good"),
    [
        (0, True),
        (LIFETIME_S + TOLERANCE_S, True),
        (LIFETIME_S + TOLERANCE_S + 1, False),
        (-TOLERANCE_S, True),
        (-TOLERANCE_S - 1, False),
    ],
)
def test_it_is_good_for_half_a_minute_and_what_clocks_differ_by(later_s: int, is_good: bool) -> None:
    if is_good:
        read_referral_untrusted(REFERRAL, KEYS, NOW_S + later_s)
    else:
        assert "is over" in refused(REFERRAL, KEYS, NOW_S + later_s)


def test_a_key_that_is_gone_takes_its_referrals_along() -> None:
    for keyring in (Keyring({1: bytes(range(32))}, 1), Keyring({7: bytes(range(32))}, 7)):
        assert "not one of ours" in refused(REFERRAL, ReferralKeys(keyring, DIGESTS), NOW_S)


@pytest.mark.parametrize("digests", [{}, {"web-shop": "1" * 64}], ids=["withdrawn", "another"])
def test_master_keys_alone_make_no_call(digests: dict[str, str]) -> None:
    """PoPs have them. What they lack is the file of API keys."""
    assert "not one of ours" in refused(REFERRAL, ReferralKeys(KEYRING, digests), NOW_S)
    with pytest.raises(KeyError):
        mint_referral(ReferralKeys(KEYRING, {}), "web-shop", CHROMIUM, NOW_S)


def test_an_open_host_vouches_for_nobody_but_says_that_it_has_sent_the_caller() -> None:
    assert Referrer().query("anyone", CHROMIUM, NOW_S) == "referral=open"


def test_any_text_has_a_digest() -> None:
    assert len(offer_digest("\ud800 \udc80 \x00")) == 22


@given(st.integers(0, len(REFERRAL) - 1), st.sampled_from("aZ0-_.9"))
def test_one_changed_character_is_enough(at: int, character: str) -> None:
    changed = REFERRAL[:at] + character + REFERRAL[at + 1 :]
    if changed != REFERRAL:
        assert refused(changed, KEYS, NOW_S)


@given(st.text() | st.from_regex(r"[0-9]{1,2}\.[0-9]{1,12}\.[a-z]+\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{22}"))
def test_nothing_made_up_is_believed(text: str) -> None:
    assert refused(text, KEYS, NOW_S)


def test_digests_are_not_shown() -> None:
    assert "0" * 64 not in repr(KEYS)


def refused(text: str, keys: ReferralKeys, now_s: int) -> str:
    with pytest.raises(Refusal) as caught:
        read_referral_untrusted(text, keys, now_s)
    assert (caught.value.status, caught.value.reason) == (401, HttpReason.BAD_REFERRAL)
    return caught.value.message

"""Session ids: made, and read back by whoever gets one in a path."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.keyring import Keyring
from transceiver.session.ids import Owner, is_minted, new_session_id, owner_of

KEYRING = Keyring({1: bytes(range(32)), 7: bytes(32)}, 7)
owners = st.builds(Owner, st.integers(0, 0xFFFFFFFF), st.integers(0, 255))


@given(owners, st.integers(0, 65535))
def test_an_id_names_its_owner_and_proves_who_has_written_it(owner: Owner, cluster: int) -> None:
    made = new_session_id(owner, cluster, KEYRING)
    assert owner_of(made) == owner
    assert is_minted(made, cluster, KEYRING)
    assert not is_minted(made, cluster ^ 1, KEYRING), "it is of another cluster"
    assert not is_minted(made, cluster, Keyring({1: bytes(range(32))}, 1)), "of a key that is gone"
    assert not is_minted(made, cluster, Keyring({7: bytes(range(32))}, 7)), "of another fleet's key"


@given(owners, st.integers(0, 55), st.sampled_from("Aq8_-9"))
def test_a_changed_id_is_nobodys(owner: Owner, at: int, put: str) -> None:
    made = new_session_id(owner, 1, KEYRING)
    changed = made[:at] + put + made[at + 1 :]
    same = owner_of(changed) is not None and _bytes(changed) == _bytes(made)
    assert same or not is_minted(changed, 1, KEYRING)


def _bytes(session_id: str) -> tuple[str, bytes]:
    """Four bits of the last character stand for nothing."""
    begin, _, text = session_id.partition("-")
    return begin, base64.urlsafe_b64decode(text + "==")


@given(owners)
def test_one_of_gpt_live_begins_as_its_clients_expect_and_is_no_other_s(owner: Owner) -> None:
    made = new_session_id(owner, 1, KEYRING, "live_")
    assert made.startswith(f"live_{owner.process}-")
    assert (owner_of(made), is_minted(made, 1, KEYRING)) == (owner, True)
    assert not is_minted(made.replace("live_", "rtc_"), 1, KEYRING), "what it begins with is proved as well"


def test_its_text_is_fixed_for_hosts_of_other_versions() -> None:
    assert owner_of(GOOD) == Owner(1, 7)
    assert is_minted(GOOD, 1, KEYRING)


def test_no_two_are_alike_and_each_has_128_random_bits() -> None:
    ids = {new_session_id(Owner(1, 7), 1, KEYRING) for _ in range(1000)}
    assert len({each.partition("-")[2][:21] for each in ids}) == 1000
    assert {len(each.partition("-")[2]) for each in ids} == {50}, "37 bytes in base64"


GOOD = "rtc_7-AAECAwQFBgcICQoLDA0ODwcAAAABfx6zB7DmS6oun3-hRD5v9Q"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "rtc_",
        GOOD.removeprefix("rtc_"),
        GOOD.upper(),
        GOOD + "x",
        GOOD[:-1],
        GOOD + "\n",
        " " + GOOD,
        "rtc_-" + "x" * 50,
        "rtc_1000-" + "x" * 50,
        "rtc_٣-" + "x" * 50,
        "rtc_7-" + "x" * 49 + "/",
        "rtc_7-b2VoNR6Nn69IuSoQ6nTRSg",
    ],
)
def test_what_is_no_id_has_no_owner(text: str) -> None:
    assert owner_of(text) is None
    assert not is_minted(text, 1, KEYRING)


@given(st.text(max_size=60))
def test_any_text_may_be_asked_for(text: str) -> None:
    assert owner_of(text) is None or text.startswith("rtc_")
    assert not is_minted(text, 1, KEYRING)

"""transceiver.signaling.client_secrets: what a secret says, who may make one, and when it is over."""

from __future__ import annotations

import base64
import json
import secrets

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.keyring import Keyring
from transceiver.realtime.settings import override
from transceiver.signaling.client_secrets import (
    MAX_CHARS,
    MAX_SESSION_CHARS,
    ClientSecret,
    SecretKeys,
    mint_client_secret,
    read_client_secret_untrusted,
)
from transceiver.signaling.refusals import HttpReason, Refusal

NOW_S = 1_900_000_000
MASTERS = {1: bytes(range(32)), 7: bytes(32)}
DIGESTS = {"web-shop": "0" * 64, "a": "ab" * 32}
KEYS = SecretKeys(Keyring(MASTERS, 7), DIGESTS)
SESSION = {"instructions": "Be brief.", "audio": {"output": {"voice": "marin"}}}
SECRET = ClientSecret("web-shop", NOW_S + 600, SESSION)
VALUE = mint_client_secret(KEYS, SECRET)
FIXED = "ek_J3E_swAAAQIDBAUGBwFhIybzP2ZgDFquAMlN0omiPqsQRX_PDehpoqhwqgOw4Ks"

scalars = st.none() | st.booleans() | st.integers() | st.text(max_size=8)
members = st.dictionaries(st.text(max_size=8), scalars | st.lists(scalars, max_size=3), max_size=4)


@given(st.sampled_from(sorted(DIGESTS)), st.integers(0, 2**32 - 1), members)
def test_any_process_with_the_same_keys_reads_what_was_minted(
    caller: str, expires_s: int, session: dict[str, object]
) -> None:
    secret = ClientSecret(caller, expires_s, session)
    elsewhere = SecretKeys(Keyring(MASTERS, 1), dict(DIGESTS))
    assert read_client_secret_untrusted(mint_client_secret(KEYS, secret), elsewhere, expires_s - 1) == secret


def test_no_two_are_alike_and_all_fit_into_a_header() -> None:
    assert mint_client_secret(KEYS, SECRET) != VALUE
    assert VALUE.startswith("ek_")
    assert VALUE[3:].replace("-", "").replace("_", "").isalnum()


def test_its_text_is_fixed_for_hosts_of_other_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets, "token_bytes", lambda count: bytes(range(count)))
    assert mint_client_secret(KEYS, ClientSecret("a", NOW_S)) == FIXED
    assert read_client_secret_untrusted(FIXED, KEYS, NOW_S - 1) == ClientSecret("a", NOW_S)


@pytest.mark.parametrize(("later_s", "is_good"), [(0, True), (599, True), (600, False), (1_000_000, False)])
def test_it_opens_nothing_from_its_expiry_on(later_s: int, is_good: bool) -> None:
    if is_good:
        assert read_client_secret_untrusted(VALUE, KEYS, NOW_S + later_s) == SECRET
    else:
        assert "has expired" in refused(VALUE, KEYS, NOW_S + later_s)


@pytest.mark.parametrize("digests", [{}, {"web-shop": "1" * 64}], ids=["withdrawn", "another"])
def test_it_ends_with_the_api_key_that_made_it(digests: dict[str, str]) -> None:
    """And PoPs, which have the master keys but not the file of API keys, can make none."""
    assert "no longer valid" in refused(VALUE, SecretKeys(KEYS.keyring, digests))
    with pytest.raises(KeyError):
        mint_client_secret(SecretKeys(KEYS.keyring, {}), SECRET)


def test_it_ends_with_the_master_key_that_it_names() -> None:
    for keyring in (Keyring({1: MASTERS[1]}, 1), Keyring({7: MASTERS[1]}, 7)):
        refused(VALUE, SecretKeys(keyring, DIGESTS))


def test_an_open_host_s_secret_is_nobody_s_elsewhere() -> None:
    opened = mint_client_secret(SecretKeys(KEYS.keyring, {"anyone": ""}), ClientSecret("anyone", NOW_S + 9))
    refused(opened, KEYS)
    refused(opened, SecretKeys(KEYS.keyring, {"anyone": "0" * 64}))


@pytest.mark.parametrize("at", range(0, len(VALUE), 7))
def test_a_changed_character_is_another_secret(at: int) -> None:
    other = "A" if VALUE[at] != "A" else "B"
    refused(VALUE[:at] + other + VALUE[at + 1 :], KEYS)


@pytest.mark.parametrize(
    "text",
    ["", "ek_", "ek_A", "ek_" + "A" * 59, VALUE[:-1], VALUE + "=", VALUE + "\n", "vpk_" + VALUE[3:]],
    ids=["empty", "bare", "one", "short", "cut", "padded", "line", "prefix"],
)
def test_what_is_none_is_refused(text: str) -> None:
    refused(text, KEYS)


def test_bits_that_no_byte_has_do_not_make_a_second_text_of_a_secret() -> None:
    same = FIXED[:-1] + "t"
    assert base64.urlsafe_b64decode(same[3:] + "=") == base64.urlsafe_b64decode(FIXED[3:] + "=")
    refused(same, KEYS, NOW_S - 1)


def test_settings_have_a_bound_before_and_after_they_are_packed() -> None:
    long = {"instructions": "x" * (MAX_SESSION_CHARS - 30)}
    assert len(mint_client_secret(KEYS, ClientSecret("a", NOW_S, long))) < 400
    for session in ({"instructions": "x" * MAX_SESSION_CHARS}, {"instructions": secrets.token_hex(8_000)}):
        with pytest.raises(Refusal) as caught:
            mint_client_secret(KEYS, ClientSecret("a", NOW_S, session))
        assert (caught.value.status, caught.value.param) == (400, "session")
    fits = {"instructions": secrets.token_hex(4_300)}
    assert len(mint_client_secret(KEYS, ClientSecret("a", NOW_S, fits))) <= MAX_CHARS


def test_settings_that_are_no_json_are_refused() -> None:
    deep: dict[str, object] = {}
    for _ in range(100_000):
        deep = {"a": deep}
    for session in ({"speed": float("nan")}, deep):
        with pytest.raises(Refusal):
            mint_client_secret(KEYS, ClientSecret("a", NOW_S, session))


@pytest.mark.parametrize(
    ("wanted", "settings"),
    [
        ({}, SESSION),
        ({"instructions": ""}, {**SESSION, "instructions": ""}),
        (
            {"audio": {"output": {"speed": 1.2}}},
            {**SESSION, "audio": {"output": {"voice": "marin", "speed": 1.2}}},
        ),
        ({"audio": {"input": {"turn_detection": None}}}, {**SESSION, "audio": {
            "output": {"voice": "marin"}, "input": {"turn_detection": None}}}),
        ({"audio": None}, {**SESSION, "audio": None}),
    ],
    ids=["nothing", "cleared", "beside", "null", "replaced"],
)  # fmt: skip
def test_what_a_client_says_overrides_the_defaults(
    wanted: dict[str, object], settings: dict[str, object]
) -> None:
    before = json.dumps(SESSION)
    assert SECRET.settings(wanted) == settings
    assert json.dumps(SESSION) == before


def test_only_the_members_of_audio_are_taken_apart() -> None:
    assert override({"tool_choice": {"type": "function", "name": "a"}}, {"tool_choice": {"type": "mcp"}}) == {
        "tool_choice": {"type": "mcp"}
    }


def test_digests_are_not_shown() -> None:
    assert "0" * 64 not in repr(KEYS)


def refused(text: str, keys: SecretKeys, now_s: int = NOW_S) -> str:
    with pytest.raises(Refusal) as caught:
        read_client_secret_untrusted(text, keys, now_s)
    assert (caught.value.status, caught.value.reason) == (401, HttpReason.BAD_CLIENT_SECRET)
    assert not text[10:] or text[3:] not in caught.value.message
    return caught.value.message

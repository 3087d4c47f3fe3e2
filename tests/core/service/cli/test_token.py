"""`voxpop token`, through the real command."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest

from core.service.cli.explain import WHY
from core.service.files import load_config, load_keyring
from core.token import Token, TokenReason, expiry_after, mint
from tests.core.service.cli.kit import voxpop


def token(site: Path, **changes: int) -> str:
    """A token that the configuration accepts, or with other fields."""
    path = site / "voxpop.toml"
    keyring = load_keyring(load_config(path), path)
    now = int(time.time()) // 60
    fields = {
        "cluster": 1,
        "host": 0,
        "port": 40001,
        "expiry_min": expiry_after(now, 90),
        "session": 77,
    } | changes
    return mint(Token(key_id=keyring.mint_with, **fields), keyring)


def secrets_of(site: Path) -> list[str]:
    return re.findall(r'"([A-Za-z0-9+/]{43}=)"', (site / "keys.toml").read_text())


def test_an_old_token_survives_a_rotation_but_not_a_retirement(site: Path) -> None:
    ufrag = token(site)
    explain = ("token", "explain", ufrag, "--config", "voxpop.toml")
    voxpop("keys", "rotate", "keys.toml", cwd=site)
    assert voxpop(*explain, cwd=site).returncode == 0
    voxpop("keys", "rotate", "keys.toml", "--retire", "1", cwd=site)
    refused = voxpop(*explain, cwd=site)
    assert refused.returncode == 1
    assert "token_unknown_key" in refused.stdout


def test_token_explain_says_where_a_token_leads(site: Path) -> None:
    ufrag = token(site)
    done = voxpop("token", "explain", f"{ufrag}:client", "--config", "voxpop.toml", "--json", cwd=site)
    assert (done.returncode, done.stderr) == (0, "")
    explanation = json.loads(done.stdout)
    assert explanation["valid"] is True
    assert explanation["reason"] is None
    assert explanation["leads_to"] == {"ipv4": "127.0.0.1:40001", "ipv6": None}
    claims = explanation["claims"]
    assert (claims["key_id"], claims["cluster"], claims["session"]) == (1, 1, 77)
    assert 88 <= claims["minutes_left"] <= 90
    text = voxpop("token", "explain", ufrag, "--config", "voxpop.toml", cwd=site)
    assert text.stdout.startswith("valid\n")
    assert "127.0.0.1:40001" in text.stdout
    assert not any(secret in done.stdout + text.stdout for secret in secrets_of(site))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"cluster": 2}, TokenReason.UNKNOWN_CLUSTER),
        ({"port": 39999}, TokenReason.PORT_OUT_OF_RANGE),
        ({"host": 1}, TokenReason.HOST_OUT_OF_RANGE),
        ({"expiry_min": expiry_after(int(time.time()) // 60 - 60, 0)}, TokenReason.EXPIRED),
    ],
)
def test_token_explain_says_why_a_token_is_refused(
    site: Path, changes: dict[str, int], reason: TokenReason
) -> None:
    ufrag = token(site, **changes)
    done = voxpop("token", "explain", ufrag, "--config", "voxpop.toml", "--json", cwd=site)
    explanation = json.loads(done.stdout)
    assert (done.returncode, explanation["reason"], explanation["why"]) == (1, reason, WHY[reason])
    assert explanation["claims"]["session"] == 77
    assert explanation["leads_to"] == {"ipv4": None, "ipv6": None}


@pytest.mark.parametrize(
    ("ufrag", "reason"),
    [
        ("", TokenReason.BAD_LENGTH),
        ("abcd:efgh", TokenReason.BAD_LENGTH),
        ("ä" * 14, TokenReason.BAD_ALPHABET),
        ("A" * 28, TokenReason.BAD_VERSION),
        ("I" + "Q" * 27, TokenReason.BAD_TAG),
    ],
)
def test_token_explain_takes_anything(site: Path, ufrag: str, reason: TokenReason) -> None:
    done = voxpop("token", "explain", ufrag, "--config", "voxpop.toml", cwd=site)
    assert done.returncode == 1
    assert done.stderr == ""
    assert done.stdout.startswith(f"refused: {WHY[reason]} ({reason})\n")

"""The verbs keys, token and config, through the real command."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from core.config.reference import example
from core.service.cli.explain import WHY
from core.service.files import load_config, load_keyring, load_masters
from core.token import Token, TokenReason, expiry_after, mint
from tests.paths import ROOT


def voxpop(*words: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "voxpop", *map(str, words)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A directory with a configuration and its keys."""
    (tmp_path / "voxpop.toml").write_text(example())
    assert voxpop("keys", "new", "keys.toml", cwd=tmp_path).returncode == 0
    return tmp_path


def secrets_of(site: Path) -> list[str]:
    return re.findall(r'"([A-Za-z0-9+/]{43}=)"', (site / "keys.toml").read_text())


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


def test_keys_new_makes_a_private_file_and_never_overwrites_one(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    first = voxpop("keys", "new", path, cwd=tmp_path)
    assert (first.returncode, first.stdout, first.stderr) == (0, f"{path}: made, with key 1\n", "")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    before = path.read_bytes()
    again = voxpop("keys", "new", path, cwd=tmp_path)
    assert (again.returncode, again.stdout) == (1, "")
    assert again.stderr == f"voxpop: {path}: exists, and is not overwritten; choose another name\n"
    assert path.read_bytes() == before


def test_two_files_have_different_keys(tmp_path: Path) -> None:
    for name in "ab":
        voxpop("keys", "new", name, cwd=tmp_path)
    assert load_masters(tmp_path / "a") != load_masters(tmp_path / "b")


def test_keys_rotate_adds_and_retires(site: Path) -> None:
    before, _ = load_masters(site / "keys.toml")
    rotated = voxpop("keys", "rotate", "keys.toml", cwd=site)
    assert rotated.returncode == 0
    assert rotated.stdout.startswith("keys.toml: mints with the new key 2; reload relays first")
    masters, mint_with = load_masters(site / "keys.toml")
    assert mint_with == 2
    assert masters.keys() == {1, 2}
    assert masters[1] == before[1]
    refused = voxpop("keys", "rotate", "keys.toml", "--retire", "2", cwd=site)
    assert (refused.returncode, refused.stderr) == (
        1,
        "voxpop: keys.toml: key 2 is the one to mint with; rotate first\n",
    )
    assert voxpop("keys", "rotate", "keys.toml", "--retire", "1", cwd=site).returncode == 0
    assert load_masters(site / "keys.toml") == ({2: masters[2]}, 2)
    unknown = voxpop("keys", "rotate", "keys.toml", "--retire", "1", cwd=site)
    assert unknown.stderr == "voxpop: keys.toml: has no key with id 1; there are: 2\n"
    assert stat.S_IMODE((site / "keys.toml").stat().st_mode) == 0o600


def test_key_ids_start_over_and_run_out(site: Path) -> None:
    lines = "\n".join(f'{i} = "{"A" * 43}="' for i in range(1, 32))
    (site / "keys.toml").write_text(f"mint_with = 31\n[master]\n{lines}\n")
    assert "new key 0;" in voxpop("keys", "rotate", "keys.toml", cwd=site).stdout
    full = voxpop("keys", "rotate", "keys.toml", cwd=site)
    assert full.stderr == "voxpop: keys.toml: has 32 keys, as many as there are ids; retire one first\n"


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


def test_every_reason_has_an_explanation() -> None:
    assert WHY.keys() == set(TokenReason)


def test_config_check_of_a_good_file(site: Path) -> None:
    done = voxpop("config", "check", "voxpop.toml", cwd=site)
    assert (done.returncode, done.stdout, done.stderr) == (0, "voxpop.toml: no problems found\n", "")
    done = voxpop("config", "check", site / "voxpop.toml", "--json", cwd=ROOT)
    assert json.loads(done.stdout) == {"ok": True, "problems": [], "notes": []}


def test_config_check_names_every_fault_at_once(site: Path) -> None:
    (site / "voxpop.toml").write_text("[token]\n[relay]\nworker = 1\n[relais]\n")
    done = voxpop("config", "check", "voxpop.toml", cwd=site)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines() == [
        "voxpop: voxpop.toml: [relais] is not a table; did you mean relay?",
        "voxpop: voxpop.toml: token.keys_file is missing: file with the master keys, mode 0600; "
        "made by `voxpop keys new`",
        "voxpop: voxpop.toml: relay.worker is not a setting; did you mean workers?",
        "voxpop: voxpop.toml: relay.pop is missing: name of the PoP that this host is",
        "voxpop: voxpop.toml: relay.vips is missing: addresses and UDP ports to listen on",
        "voxpop: voxpop.toml: relay: tokens lead into clusters, so at least one [[cluster]] is needed",
    ]


def test_config_check_looks_into_the_secrets_too(site: Path) -> None:
    config = site / "voxpop.toml"
    config.write_text(config.read_text().replace("open = true", 'api_keys_file = "api.toml"\n#'))
    (site / "keys.toml").chmod(0o644)
    done = voxpop("config", "check", "voxpop.toml", "--json", cwd=site)
    assert done.returncode == 1
    assert sorted(json.loads(done.stdout)["problems"]) == [
        "api.toml: cannot be read: No such file or directory",
        "keys.toml: holds secrets but others can read it; run: chmod 600 keys.toml",
    ]
    (site / "keys.toml").chmod(0o600)
    (site / "api.toml").write_text("[key]\nshop = 'plain'\n")
    (site / "api.toml").chmod(0o600)
    done = voxpop("config", "check", "voxpop.toml", cwd=site)
    assert done.returncode == 1
    assert "api.toml: key.shop" in done.stderr
    assert "plain" not in done.stderr


def test_config_check_runs_what_the_daemons_check_at_their_start(site: Path) -> None:
    config = site / "voxpop.toml"
    config.write_text(config.read_text().replace('"127.0.0.1:3478"]\n\n[tr', '"0.0.0.0:3478"]\n\n[tr'))
    done = voxpop("config", "check", "voxpop.toml", cwd=site)
    assert done.returncode == 1
    assert "relay.vips: 0.0.0.0:3478" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody who may not read")
def test_config_check_says_what_it_may_not_read(site: Path) -> None:
    site.chmod(0o755)
    (site / "voxpop.toml").chmod(0o644)
    done = subprocess.run(
        [sys.executable, "-c", CHECK_AS_NOBODY],
        cwd=site,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert json.loads(done.stdout) == {
        "ok": True,
        "problems": [],
        "notes": ["keys.toml: not checked, for this user cannot read it"],
    }


CHECK_AS_NOBODY = """
import os, sys
import core.service.files, edge.host.settings
import transceiver.host.settings, voxpop  # before the right to read them goes
os.setresuid(65534, 65534, 65534)
sys.exit(voxpop.main(["config", "check", "voxpop.toml", "--json"]))
"""


def test_the_reference_in_docs_is_what_the_declarations_say() -> None:
    done = voxpop("config", "reference", cwd=ROOT)
    assert done.returncode == 0
    assert (ROOT / "docs/configuration.md").read_text() == done.stdout, (
        "run: voxpop config reference > docs/configuration.md"
    )


@pytest.mark.parametrize(
    "words", [("keys",), ("keys", "rotate"), ("token", "explain"), ("config", "check"), ("metrics",)]
)
def test_help_teaches(words: tuple[str, ...]) -> None:
    done = voxpop(*words, "--help", cwd=ROOT)
    assert done.returncode == 0
    assert done.stdout.startswith(f"usage: voxpop {' '.join(words)}")
    assert voxpop(*words, cwd=ROOT).returncode == 2

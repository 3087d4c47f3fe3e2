import hashlib
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import ConfigError
from transceiver.signaling.apikeys import MAX_KEYS, ApiKeys, create_api_key, load_api_keys


def problems(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        load_api_keys(path)
    return "\n".join(caught.value.problems)


def write(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


def test_a_key_that_was_made_is_recognised_and_not_stored(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    alice, bob = create_api_key(path, "alice"), create_api_key(path, "web-shop_2")
    keys = load_api_keys(path)
    assert (keys.name_of(alice), keys.name_of(bob)) == ("alice", "web-shop_2")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert alice not in path.read_text()
    assert alice.startswith("vpk_")
    assert len(alice) >= 4 + 43
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, which can give files away")
def test_the_owner_of_the_file_stays(tmp_path: Path) -> None:
    """An operator who is root must not lock the service out."""
    path = write(tmp_path / "keys.toml", "")
    os.chown(path, 12345, 23456)
    create_api_key(path, "alice")
    assert (path.stat().st_uid, path.stat().st_gid) == (12345, 23456)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_comments_of_the_operator_survive(tmp_path: Path) -> None:
    path = write(tmp_path / "keys.toml", "# ask Ada before adding\n")
    create_api_key(path, "alice")
    assert path.read_text().startswith("# ask Ada before adding\n")
    load_api_keys(path)


@given(st.text(max_size=600))
def test_nothing_else_is_a_key(text: str) -> None:
    key = "vpk_right"
    keys = ApiKeys({"alice": hashlib.sha256(key.encode()).hexdigest()})
    assert keys.name_of(text) is None
    assert keys.name_of(key) == "alice"


def test_a_name_is_taken_once(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    create_api_key(path, "alice")
    before = path.read_text()
    with pytest.raises(ConfigError, match="alice already"):
        create_api_key(path, "alice")
    assert path.read_text() == before


@pytest.mark.parametrize("name", ["", "a b", "a.b", "-a", "x" * 65, 'a"]', "ä"])
def test_names(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="is not a name"):
        create_api_key(tmp_path / "keys.toml", name)


def test_a_full_file(tmp_path: Path) -> None:
    digest = "0" * 64
    path = tmp_path / "keys.toml"
    write(path, "".join(f'[key.k{i}]\nsha256 = "{digest}"\n' for i in range(MAX_KEYS)))
    with pytest.raises(ConfigError, match="full"):
        create_api_key(path, "one-more")
    write(path, path.read_text() + f'[key.more]\nsha256 = "{digest}"\n')
    assert "at most 256" in problems(path)


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be written"):
        create_api_key(tmp_path / "missing" / "keys.toml", "alice")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("key = 1", "[key.NAME] tables"),
        ("[other]", "[key.NAME] tables"),
        ("[key.alice]", "key.alice.sha256 must be"),
        ('[key.alice]\nsha256 = "vpk_the-key-itself"', "key.alice.sha256 must be"),
        ("[key.alice]\nsha256 = 7", "key.alice.sha256 must be"),
        ('[key]\nalice = "x"', "key.alice.sha256 must be"),
        (f'[key."a b"]\nsha256 = "{"0" * 64}"', "a name is"),
        ("[[[", "is not TOML"),
    ],
)
def test_faults_name_the_entry_and_never_repeat_it(tmp_path: Path, text: str, problem: str) -> None:
    path = write(tmp_path / "keys.toml", text)
    said = problems(path)
    assert problem in said
    assert str(path) in said
    assert "vpk_" not in said


def test_a_file_that_others_can_read(tmp_path: Path) -> None:
    assert "chmod 600" in problems(write(tmp_path / "keys.toml", "", 0o644))


@pytest.mark.parametrize("content", ["", "# none yet\n", "[key]\n"], ids=["empty", "a comment", "a table"])
def test_a_file_without_a_key_is_refused_and_can_be_given_one(tmp_path: Path, content: str) -> None:
    """It would lock everybody out."""
    path = write(tmp_path / "keys.toml", content)
    assert problems(path) == f"{path}: has no key, so nobody could call; run: voxpop api-key new {path} NAME"
    if content != "[key]\n":
        key = create_api_key(path, "first")
        assert load_api_keys(path).name_of(key) == "first"


def test_a_quota_that_is_none_is_said(tmp_path: Path) -> None:
    keys = tmp_path / "api-keys.toml"
    keys.touch(0o600)
    keys.write_text(f'[key.bob]\nsha256 = "{"0" * 64}"\nlive_call = 7\nsidebands = 0\n')
    with pytest.raises(ConfigError) as refusal:
        load_api_keys(keys)
    assert "key.bob.live_call is not a setting; did you mean live_calls?" in str(refusal.value)
    assert 'key.bob.sidebands must be a whole number, 1–1000000, or "unlimited"' in str(refusal.value)


def test_a_key_may_have_quotas_of_its_own(tmp_path: Path) -> None:
    keys = tmp_path / "api-keys.toml"
    keys.touch(0o600)
    keys.write_text(
        f'[key.bob]\nsha256 = "{"0" * 64}"\nlive_calls = "unlimited"\n[key.eve]\nsha256 = "{"1" * 64}"\n'
    )
    assert load_api_keys(keys).quotas == {"bob": {"live_calls": "unlimited"}}

"""core.service.files: configuration and secrets on a real disk."""

from __future__ import annotations

import base64
import os
import ssl
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from core.errors import ConfigError
from core.service.files import (
    create_secret,
    keys_path,
    load_certificates,
    load_config,
    load_keyring,
    load_masters,
    load_password,
    load_toml,
    replace_secret,
)

KEY = base64.b64encode(b"k" * 32).decode()
NOBODY = 65534
KEYS = f'mint_with = 1\n[master]\n1 = "{KEY}"\n'


def problem(read: Callable[[Path], object], path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        read(path)
    (only,) = caught.value.problems
    assert only.startswith(f"{path}: ")
    return only.removeprefix(f"{path}: ")


def secret(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o600)
    return path


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert problem(load_toml, tmp_path / "none.toml") == "cannot be read: No such file or directory"
    assert problem(load_toml, tmp_path) == "is a directory, not a file: name a regular file"
    assert problem(load_masters, tmp_path / "none.toml") == "cannot be read: No such file or directory"


@pytest.mark.parametrize(
    "content", [b"a = ", b"\xff\xfe", b"a = " + b"9" * 5000, b"a = " + b"[" * 50_000, b"a = 1\na = 2"]
)
def test_a_file_that_is_not_toml(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.toml"
    path.write_bytes(content)
    assert problem(load_toml, path).startswith("is not TOML: ")


def test_every_problem_of_a_configuration_has_the_name_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = Path("relay")  # the name of the file is the beginning of a key
    path.write_text('[token]\nkeys_file = ""\n[relay]\n')
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert len(caught.value.problems) > 2
    assert all(p.startswith("relay: ") for p in caught.value.problems)


def test_the_keys_file_is_found_beside_the_configuration(tmp_path: Path) -> None:
    path = tmp_path / "voxpop.toml"
    path.write_text('[token]\nkeys_file = "keys.toml"\n')
    secret(tmp_path / "keys.toml", KEYS)
    config = load_config(path)
    assert keys_path(config, path) == tmp_path / "keys.toml"
    assert load_keyring(config, path).key_ids == [1]
    path.write_text(f'[token]\nkeys_file = "{tmp_path}/keys.toml"\n')
    assert load_keyring(load_config(path), Path("elsewhere/voxpop.toml")).mint_with == 1


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o611])
def test_a_secret_that_others_can_read_is_refused_with_the_fix(tmp_path: Path, mode: int) -> None:
    path = secret(tmp_path / "keys.toml", KEYS)
    path.chmod(mode)
    assert problem(load_masters, path) == f"holds secrets but others can read it; run: chmod 600 {path}"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: becomes nobody")
@pytest.mark.parametrize(
    ("mode", "owner", "is_taken"),
    [(0o440, 0, True), (0o640, 0, True), (0o660, 0, False), (0o444, 0, False), (0o440, NOBODY, False)],
    ids=["secret of a pod", "for its group", "its group may write", "for all", "of its own"],
)
def test_a_secret_of_roots_may_be_read_by_the_group_that_it_is_given_to(
    mode: int, owner: int, is_taken: bool
) -> None:
    """As a volume of a Secret is, with fsGroup."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        Path(folder).chmod(0o755)
        path = secret(Path(folder) / "keys.toml", KEYS)
        path.chmod(mode)
        os.chown(path, owner, NOBODY)
        os.setegid(NOBODY)
        os.seteuid(NOBODY)
        try:
            if is_taken:
                assert load_masters(path)[1] == 1
            else:
                assert "others can read it" in problem(load_masters, path)
        finally:
            os.seteuid(0)
            os.setegid(0)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("", "needs mint_with = ID, a [master] table and nothing else"),
        ("mint_with = 1", "needs mint_with = ID, a [master] table and nothing else"),
        ("mint_with = 1\nmaster = 3", "needs mint_with = ID, a [master] table and nothing else"),
        (f"{KEYS}\n[other]", "needs mint_with = ID, a [master] table and nothing else"),
        ("mint_with = 1\n[master]", "no key with id 1"),
        (KEYS.replace("= 1\n", "= 2\n"), "no key with id 2"),
        (KEYS.replace("= 1\n", "= true\n"), "mint_with must be the id of a key"),
        (KEYS.replace("= 1\n", '= "1"\n'), "mint_with must be the id of a key"),
        (KEYS + f'01 = "{KEY}"', "the names in [master] must be key ids"),
        (KEYS + f'-1 = "{KEY}"', "the names in [master] must be key ids"),
        (KEYS + f'"²" = "{KEY}"', "the names in [master] must be key ids"),
        (KEYS + f'32 = "{KEY}"', "key id 32 is not 0–31"),
        (KEYS + f'2 = "{KEY[:-4]}"', "key 2 has 30 bytes, not 32"),
        (KEYS + '2 = ""', "key 2 has 0 bytes, not 32"),
        (KEYS + "2 = 7", "key 2 has 0 bytes, not 32"),
        (KEYS + '2 = "not base64"', "master.2: is not base64 of 32 bytes"),
        (KEYS + '2 = "ä"', "master.2: is not base64 of 32 bytes"),
    ],
)
def test_a_keys_file_that_cannot_work(tmp_path: Path, content: str, complaint: str) -> None:
    assert complaint in problem(load_masters, secret(tmp_path / "keys.toml", content))


@pytest.mark.parametrize(
    "content", [KEYS + f'"{KEY}" = "2"', KEYS + f'2 = "{KEY}{KEY}"', f'mint_with = "{KEY}"']
)
def test_no_problem_repeats_a_secret(tmp_path: Path, content: str) -> None:
    assert KEY[:8] not in problem(load_masters, secret(tmp_path / "keys.toml", content))


def test_a_password_is_one_line_that_others_cannot_read(tmp_path: Path) -> None:
    path = secret(tmp_path / "password", "s3cret word\n")
    assert load_password(path) == "s3cret word"
    path.chmod(0o640)
    assert problem(load_password, path) == f"holds secrets but others can read it; run: chmod 600 {path}"


@pytest.mark.parametrize("content", ["", "\n", "one\ntwo\n", "x" * 513, "ä" * 257])
def test_what_is_no_password_is_refused_and_not_repeated(tmp_path: Path, content: str) -> None:
    told = problem(load_password, secret(tmp_path / "password", content))
    assert told == "must be one line of at most 512 bytes, the password alone"


def test_a_password_that_is_no_text(tmp_path: Path) -> None:
    path = secret(tmp_path / "password", "")
    path.write_bytes(b"\xff\xfe")
    assert problem(load_password, path) == "is not text"
    assert problem(load_password, tmp_path / "none") == "cannot be read: No such file or directory"


def test_certificates_are_looked_at_before_they_are_used(tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    assert problem(load_certificates, path) == "cannot be read: No such file or directory"
    path.write_text("no certificate")
    assert problem(load_certificates, path).startswith("cannot be used: ")
    for text in ("ä", ""):  # with none at all, the client would trust the system's
        path.write_text(text)
        assert problem(load_certificates, path) == "is not PEM"
    pem = ssl.DER_cert_to_PEM_cert(ssl.create_default_context().get_ca_certs(binary_form=True)[0])
    path.write_text(pem)
    assert load_certificates(path) == pem
    path.write_text(pem * 40)
    assert "give the one certificate that is needed" in problem(load_certificates, path)


def test_a_secret_is_created_for_its_owner_alone_and_once(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    old_mask = os.umask(0)
    try:
        create_secret(path, "first")
    finally:
        os.umask(old_mask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "exists, and is not overwritten" in problem(lambda p: create_secret(p, "second"), path)
    assert path.read_text() == "first"


def test_a_secret_is_not_created_through_a_link(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "target")
    assert "exists" in problem(lambda p: create_secret(p, "x"), link)
    assert not (tmp_path / "target").exists()


def test_a_secret_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = secret(tmp_path / "secret", "old")
    inode = path.stat().st_ino
    replace_secret(path, "new")
    assert path.read_text() == "new"
    assert path.stat().st_ino != inode
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_second_writer_is_kept_out(tmp_path: Path) -> None:
    path = secret(tmp_path / "secret", "old")
    (tmp_path / "secret.new").write_text("half")
    with pytest.raises(ConfigError, match=r"secret\.new: exists: another change is under way"):
        replace_secret(path, "new")
    assert path.read_text() == "old"


def test_a_failed_replacement_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be replaced"):
        replace_secret(tmp_path / "not there", "new")
    assert list(tmp_path.iterdir()) == []
    assert "cannot be written" in problem(lambda p: create_secret(p, "x"), tmp_path / "no" / "directory")

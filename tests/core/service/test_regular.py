"""core.service.regular: what is opened, and whose it is."""

from __future__ import annotations

import os
import socket
import tempfile
from pathlib import Path

import pytest

from core.errors import ConfigError
from core.service.files import load_certificates, load_masters, load_password, load_toml
from core.service.regular import read, read_secret

NOBODY = 65534
NO_ONE = 4_000_000
"""An id without a user."""
MOST = 100

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: gives files away")


def secret(path: Path, content: bytes = b"secret") -> Path:
    path.write_bytes(content)
    path.chmod(0o600)
    return path


def problem(path: Path, *, ours: bool = False) -> str:
    with pytest.raises(ConfigError) as caught:
        read_secret(path, MOST, ours=ours)
    (only,) = caught.value.problems
    assert only.startswith(f"{path}: ")
    return only.removeprefix(f"{path}: ")


def become_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(path))


def test_a_file_is_read_as_a_whole_up_to_a_limit(tmp_path: Path) -> None:
    assert read_secret(secret(tmp_path / "a", b"x" * MOST), MOST, ours=True) == b"x" * MOST
    assert (
        problem(secret(tmp_path / "a", b"x" * (MOST + 1)))
        == "is longer than 100 bytes: name the file that is meant"
    )
    (tmp_path / "a").chmod(0o644)
    assert read(tmp_path / "a", MOST + 1) == b"x" * (MOST + 1)


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (os.mkfifo, "a FIFO"),
        (os.mkdir, "a directory"),
        (lambda path: path.symlink_to("/dev/zero"), "a device"),
        (become_socket, "a socket"),
    ],
    ids=["fifo", "directory", "device", "socket"],
)
def test_what_is_no_regular_file_is_refused_and_not_waited_for(
    tmp_path: Path, make: object, kind: str
) -> None:
    path = tmp_path / "it"
    assert callable(make)
    make(path)
    assert problem(path) == f"is {kind}, not a file: name a regular file"
    for reader in (load_toml, load_masters, load_password, load_certificates):
        with pytest.raises(ConfigError, match=f"is {kind}, not a file"):
            reader(path)


def test_what_becomes_a_fifo_after_it_was_looked_at_is_refused_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = secret(tmp_path / "a")
    before = path.stat()
    monkeypatch.setattr(Path, "stat", lambda self: before)
    path.unlink()
    os.mkfifo(path, 0o600)
    assert "is a FIFO" in problem(path)


def test_links_are_followed_as_a_volume_of_kubernetes_has_them(tmp_path: Path) -> None:
    (tmp_path / "..2026").mkdir()
    secret(tmp_path / "..2026" / "keys.toml")
    (tmp_path / "..data").symlink_to("..2026")
    (tmp_path / "keys.toml").symlink_to("..data/keys.toml")
    assert read_secret(tmp_path / "keys.toml", MOST, ours=True) == b"secret"
    (tmp_path / "..2026" / "keys.toml").chmod(0o604)
    assert "others can read it" in problem(tmp_path / "keys.toml")


@needs_root
@pytest.mark.parametrize(("owner", "name"), [(NOBODY, "nobody"), (NO_ONE, "user 4000000")])
def test_a_daemon_takes_no_secret_of_another_user(tmp_path: Path, owner: int, name: str) -> None:
    path = secret(tmp_path / "a")
    os.chown(path, owner, 0)
    assert problem(path, ours=True) == (
        f"belongs to {name}, who knows what is in it and may change it; "
        f"make a new one, or run: chown root {path}"
    )
    assert read_secret(path, MOST, ours=False) == b"secret"


@needs_root
def test_a_daemon_of_a_user_takes_its_own_and_those_of_root() -> None:
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        Path(folder).chmod(0o755)
        own, roots, others = (secret(Path(folder) / name) for name in ("own", "roots", "others"))
        os.chown(own, NOBODY, NOBODY)
        os.chown(roots, 0, NOBODY)
        roots.chmod(0o440)
        os.chown(others, NO_ONE, NOBODY)
        others.chmod(0o400)
        hidden = secret(Path(folder) / "hidden")
        os.setegid(NOBODY)
        os.seteuid(NOBODY)
        try:
            assert [read_secret(path, MOST, ours=True) for path in (own, roots)] == [b"secret"] * 2
            assert "belongs to user 4000000" in problem(others, ours=True)
            assert "chown nobody" in problem(others, ours=True), "though it may not be read"
            assert (
                problem(hidden)
                == problem(hidden, ours=True)
                == (
                    "cannot be read: Permission denied: nobody, as whom this runs, has to be let into its "
                    "directories and to read it"
                )
            )
        finally:
            os.seteuid(0)
            os.setegid(0)

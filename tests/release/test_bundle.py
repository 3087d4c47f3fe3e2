"""Our own wheel, of a commit: the same each time, and of that commit. The rest is `make bundle-check`."""

from __future__ import annotations

import os
import subprocess
import zipfile
from pathlib import Path

import pytest

from release import bundle
from tests.paths import ROOT

PROJECT = (ROOT / "pyproject.toml").read_text()


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What a wheel is made of, committed in a repository of its own; more lies about."""
    folder = tmp_path / "repository"
    (folder / "core" / "service").mkdir(parents=True)
    (folder / "ebpf").mkdir()
    for name in (
        "core/__init__.py",
        "core/service/__init__.py",
        "core/service/build.py",
        "README.md",
        "LICENSE",
    ):
        (folder / name).write_bytes((ROOT / name).read_bytes())
    (folder / "ebpf" / "layout.py").write_text("SCHEMA_VERSION = 6\n")
    (folder / "voxpop.py").write_text("")
    (folder / "pyproject.toml").write_text(PROJECT)
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "-c", "user.name=x", "-c", "user.email=x@example.org", "commit", "-qm", "x")
    (folder / "core" / "secret.py").write_text("lies about\n")
    monkeypatch.setattr(bundle, "ROOT", folder)
    return folder


def git(folder: Path, *arguments: str) -> str:
    own = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    command = ["git", *arguments]
    return subprocess.run(
        command, cwd=folder, env=own, check=True, capture_output=True, text=True
    ).stdout.strip()


def wheel(folder: Path, commit: bundle.Commit, umask: int) -> Path:
    before = os.umask(umask)
    try:
        folder.mkdir()
        tree = bundle.check_out(commit, folder / "tree")
        bundle._stamp(tree, commit)
        return bundle.build_wheel(tree, commit, folder)
    finally:
        os.umask(before)


def test_a_commit_gives_one_wheel_that_names_it(repository: Path, tmp_path: Path) -> None:
    commit = bundle.look_up("HEAD")
    assert commit.hash == git(repository, "rev-parse", "HEAD")
    one = wheel(tmp_path / "one", commit, 0o022)
    two = wheel(tmp_path / "two", commit, 0o077)
    assert one.name == two.name
    assert f"+g{commit.hash[:9]}-py3-none-any.whl" in one.name
    assert one.read_bytes() == two.read_bytes()
    with zipfile.ZipFile(one) as parts:
        names = parts.namelist()
        assert parts.read("core/service/commit.txt").decode().strip() == commit.hash
    assert "core/secret.py" not in names
    assert not [name for name in names if name.startswith(("tests", "release", "ansible"))]


def test_a_released_commit_has_its_version_to_itself(repository: Path, tmp_path: Path) -> None:
    version = bundle._version(PROJECT)
    assert not bundle.look_up("HEAD").is_release
    git(repository, "tag", f"v{version}")
    assert bundle.look_up("HEAD").is_release
    assert wheel(tmp_path / "one", bundle.look_up("HEAD"), 0o022).name == f"voxpop-{version}-py3-none-any.whl"

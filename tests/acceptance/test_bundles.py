"""The second version that is upgraded to."""

from __future__ import annotations

import json
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from release.archive import sha256, write_sums, write_tar
from release.bundle import look_up
from tests.acceptance.bundles import after, next_of, version_of


def test_a_bundle_says_its_version_by_its_name() -> None:
    assert version_of(Path("/dist/voxpop-0.1.0+g31f44b0e4-x86_64.tar")) == "0.1.0+g31f44b0e4"
    with pytest.raises(ValueError, match="no name of a bundle"):
        version_of(Path("/dist/voxpop.tar"))


@pytest.mark.parametrize(("version", "following"), [("0.1.0", "0.1.0+next"), ("0.1.0+g1", "0.1.0+g1.next")])
def test_the_next_version_is_another_of_the_same_release(version: str, following: str) -> None:
    assert after(version) == following


def test_the_next_bundle_has_the_same_commit_as_another_version(tmp_path: Path) -> None:
    commit = look_up("HEAD")
    folder = tmp_path / "voxpop-0.1.0+g1"
    (folder / "wheels").mkdir(parents=True)
    (folder / "wheels" / "voxpop-0.1.0+g1-py3-none-any.whl").write_text("the one before")
    old = sha256(folder / "wheels" / "voxpop-0.1.0+g1-py3-none-any.whl")
    (folder / "requirements-3.11.txt").write_text(f"voxpop==0.1.0+g1 --hash=sha256:{old}\n")
    (folder / "bundle.json").write_text(json.dumps({"version": "0.1.0+g1", "commit": commit.hash}))
    (folder / "sbom.cdx.json").write_text(json.dumps({"purl": "pkg:pypi/voxpop@0.1.0+g1"}))
    write_sums(folder)
    first = tmp_path / "voxpop-0.1.0+g1-x86_64.tar"
    write_tar(folder, first, commit.epoch_s)

    made = next_of(first, tmp_path)

    assert version_of(made) == "0.1.0+g1.next"
    shutil.unpack_archive(made, tmp_path)
    folder = tmp_path / "voxpop-0.1.0+g1.next"
    subprocess.run(["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"], cwd=folder, check=True)
    [wheel] = (folder / "wheels").iterdir()
    with zipfile.ZipFile(wheel) as names:
        [metadata] = [name for name in names.namelist() if name.endswith("/METADATA")]
        assert "\nVersion: 0.1.0+g1.next\n" in names.read(metadata).decode()
        assert names.read("core/service/commit.txt").decode().strip() == commit.hash
    line = (folder / "requirements-3.11.txt").read_text()
    assert line == f"voxpop==0.1.0+g1.next --hash=sha256:{sha256(wheel)}\n"
    assert json.loads((folder / "bundle.json").read_text())["version"] == "0.1.0+g1.next"

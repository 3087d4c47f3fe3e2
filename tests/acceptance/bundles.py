"""A second version to upgrade to: the same commit under another name, made of the first one's bundle."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from pathlib import Path

from release.archive import SUMS, sha256, write_sums, write_tar
from release.bundle import VERSION_LINE, build_wheel, check_out, look_up

NAME = re.compile(r"voxpop-(?P<version>.+)-(?P<machine>[^-]+)\.tar")


def version_of(bundle: Path) -> str:
    """As its name says it. Raises ValueError for a file that is no bundle."""
    if (found := NAME.fullmatch(bundle.name)) is None:
        raise ValueError(f"{bundle.name} is no name of a bundle")
    return found["version"]


def after(version: str) -> str:
    """The version that follows, still one of this commit (PEP 440, a local version)."""
    return f"{version}.next" if "+" in version else f"{version}+next"


def next_of(bundle: Path, to: Path) -> Path:
    """Of a bundle the one that follows, in the folder `to`, made if it is not there. What is locked is the
    same, so no package index is asked.
    """
    old = version_of(bundle)
    new = after(old)
    made = to / bundle.name.replace(old, new)
    if made.exists():
        return made
    with tempfile.TemporaryDirectory(dir=to, prefix=".next-") as name:
        scratch = Path(name)
        shutil.unpack_archive(bundle, scratch)
        folder = (scratch / f"voxpop-{old}").rename(scratch / f"voxpop-{new}")
        commit = look_up(json.loads((folder / "bundle.json").read_text())["commit"])
        tree = check_out(commit, scratch / "tree")
        project = tree / "pyproject.toml"
        project.write_text(VERSION_LINE.sub(f'version = "{new}"', project.read_text(), count=1))
        (tree / "core" / "service" / "commit.txt").write_text(f"{commit.hash}\n")
        [before] = (folder / "wheels").glob(f"voxpop-{old}-*.whl")
        digest = sha256(before)
        before.unlink()
        own = build_wheel(tree, commit, folder / "wheels")
        for path in (*folder.glob("requirements-*.txt"), folder / "bundle.json", folder / "sbom.cdx.json"):
            path.write_text(renamed(path.read_text(), {old: new, digest: sha256(own)}))
        (folder / SUMS).unlink()
        write_sums(folder)
        write_tar(folder, scratch / made.name, commit.epoch_s)
        (scratch / made.name).rename(made)  # all of it or nothing
    return made


def renamed(text: str, names: dict[str, str]) -> str:
    """A text with each of these names by another; none may be a part of one that comes after it."""
    for old, new in names.items():
        text = text.replace(old, new)
    return text

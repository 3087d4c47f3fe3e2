"""`make bundle`: of a commit one file from which a host is installed without a network.

    voxpop-VERSION-MACHINE.tar
      voxpop-VERSION/
        bundle.json             version, commit, layout of the maps, Pythons
        requirements-3.11.txt   what a venv of Debian 12's Python is made of, with the hash of each wheel
        requirements-3.13.txt   the same for Debian 13
        wheels/                 ours and the locked ones
        sbom.cdx.json           CycloneDX 1.5
        SHA256SUMS              of all of these

Twice from one commit it is the same, byte by byte.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from release.archive import sha256, write_sums, write_tar
from release.sbom import cut
from release.targets import Pinned, Target, pinned

ROOT = Path(__file__).parent.parent
VERSION_LINE = re.compile(r'^version = "(?P<version>[^"]+)"$', re.MULTILINE)
SCHEMA_LINE = re.compile(r"^SCHEMA_VERSION = (?P<schema>\d+)$", re.MULTILINE)
SHORT = 9
"""Digits of a commit in a version."""


@dataclass(frozen=True, slots=True)
class Commit:
    """What is bundled."""

    hash: str
    epoch_s: int
    """When it was committed: the time of all that is made of it."""
    is_release: bool
    """Whether its version is its alone: it has the tag v… of the version."""


@dataclass(frozen=True, slots=True)
class Tools:
    """What a bundle is made with."""

    uv: Path
    pip: Sequence[str]
    """The command."""


def main() -> int:
    """Build it. Exit status 0 when it is there."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--uv", type=Path, required=True, help="the pinned uv")
    parser.add_argument("--pip", required=True, help="the command of a pip, to fetch wheels")
    parser.add_argument("--python", nargs="+", default=["3.11", "3.13"], help="default: 3.11 3.13")
    parser.add_argument(
        "--machine", default=platform.machine(), help="x86_64 or aarch64; default: this one's"
    )
    parser.add_argument("--commit", default="HEAD", help="default: HEAD")
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="default: dist")
    arguments = parser.parse_args()
    targets = [Target(python, arguments.machine) for python in arguments.python]
    commit = look_up(arguments.commit)
    if _git("status", "--porcelain", "--untracked-files=no"):
        print("what is not committed is not in the bundle", file=sys.stderr)
    made = build(commit, targets, Tools(arguments.uv.absolute(), arguments.pip.split()), arguments.out)
    print(f"{made} ({made.stat().st_size / 1e6:.0f} MB), sha256 {sha256(made)}")
    return 0


def look_up(name: str) -> Commit:
    """A commit by any name that git knows."""
    full = _git("rev-parse", f"{name}^{{commit}}")
    tree_version = _version(_git("show", f"{full}:pyproject.toml"))
    tags = _git("tag", "--points-at", full).split()
    return Commit(full, int(_git("show", "--no-patch", "--format=%ct", full)), f"v{tree_version}" in tags)


def build(commit: Commit, targets: Sequence[Target], tools: Tools, out: Path) -> Path:
    """The bundle of a commit, in the folder `out`."""
    with tempfile.TemporaryDirectory(prefix="voxpop-bundle-") as scratch:
        tree = check_out(commit, Path(scratch) / "tree")
        export = [str(tools.uv), "export", "--quiet", "--frozen", "--no-default-groups", "--no-emit-project"]
        lock = _run([*export, "--format", "requirements.txt"], cwd=tree)
        parts = json.loads(_run([*export, "--format", "cyclonedx1.5"], cwd=tree))
        version = _stamp(tree, commit)
        bundle = Path(scratch) / f"voxpop-{version}"
        wheels = bundle / "wheels"
        wheels.mkdir(parents=True)
        for target in targets:
            _fetch(list(pinned(lock, target)), target, tools, wheels, bundle / target.requirements_file)
        digests = {wheel.name: sha256(wheel) for wheel in sorted(wheels.iterdir())}
        own = build_wheel(tree, commit, wheels)
        for target in targets:
            with (bundle / target.requirements_file).open("a") as file:
                file.write(f"{Pinned('voxpop', version, (f'sha256:{sha256(own)}',)).line()}\n")
        _write_json(bundle / "sbom.cdx.json", cut(parts, digests, version, commit.epoch_s))
        _write_json(bundle / "bundle.json", _about(version, commit, targets, tree))
        write_sums(bundle)
        out.mkdir(parents=True, exist_ok=True)
        made = out / f"voxpop-{version}-{targets[0].machine}.tar"
        write_tar(bundle, made, commit.epoch_s)
    return made


def check_out(commit: Commit, to: Path) -> Path:
    """The files of a commit and no others."""
    to.mkdir()
    tar = to.with_suffix(".tar")
    _git("archive", "--output", str(tar), commit.hash)
    shutil.unpack_archive(tar, to)
    return to


def _stamp(tree: Path, commit: Commit) -> str:
    """Put the commit into the tree, and into its version unless that is released; returns the version."""
    project = tree / "pyproject.toml"
    text = project.read_text()
    version = _version(text)
    if not commit.is_release:
        version = f"{version}+g{commit.hash[:SHORT]}"
        project.write_text(VERSION_LINE.sub(f'version = "{version}"', text, count=1))
    (tree / "core" / "service" / "commit.txt").write_text(f"{commit.hash}\n")
    return version


def build_wheel(tree: Path, commit: Commit, to: Path) -> Path:
    """Our own wheel of a tree, in the folder `to`, by the locked hatchling that this Python has."""
    before = set(to.glob("*.whl"))
    told = {**os.environ, "SOURCE_DATE_EPOCH": str(commit.epoch_s), "PYTHONPATH": ""}
    _run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(to)], cwd=tree, env=told)
    (made,) = set(to.glob("*.whl")) - before
    return made


def _fetch(wanted: Sequence[Pinned], target: Target, tools: Tools, wheels: Path, requirements: Path) -> None:
    """Put the wheels of a target among the others, and those that came into its requirements."""
    with tempfile.TemporaryDirectory(prefix="voxpop-wheels-") as folder:
        asked = Path(folder) / "asked.txt"
        asked.write_text("".join(f"{each.line()}\n" for each in wanted))
        came = Path(folder) / "wheels"
        _run(
            [
                *tools.pip, "download", "-qq", "--disable-pip-version-check", *target.pip_options,
                "--require-hashes", f"--dest={came}", f"--requirement={asked}",
            ],
            cwd=ROOT,
        )  # fmt: skip
        files = {sha256(wheel): wheel for wheel in came.iterdir()}
        lines = [_as_it_came(each, files).line() for each in wanted]
        requirements.write_text("".join(f"{line}\n" for line in lines))
        for wheel in files.values():
            shutil.move(wheel, wheels / wheel.name)


def _as_it_came(asked: Pinned, files: Iterable[str]) -> Pinned:
    """With the hash of the one file that was fetched for it."""
    (digest,) = {f"sha256:{digest}" for digest in files} & set(asked.hashes)
    return Pinned(asked.name, asked.version, (digest,))


def _about(version: str, commit: Commit, targets: Sequence[Target], tree: Path) -> dict[str, object]:
    (schema,) = SCHEMA_LINE.findall((tree / "ebpf" / "layout.py").read_text())
    return {
        "version": version,
        "commit": commit.hash,
        "schema": int(schema),
        "python": [target.python for target in targets],
        "machine": targets[0].machine,
    }


def _version(project: str) -> str:
    """Of the text of a pyproject.toml."""
    found = VERSION_LINE.search(project)
    if found is None:
        raise ValueError("pyproject.toml has no version")
    return found["version"]


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n")


def _git(*arguments: str) -> str:
    return _run(["git", *arguments], cwd=ROOT).strip()


def _run(command: Sequence[str], cwd: Path, env: dict[str, str] | None = None) -> str:
    """What it prints; what it complains of goes to ours. Raises CalledProcessError."""
    return subprocess.run(command, cwd=cwd, env=env, check=True, stdout=subprocess.PIPE, text=True).stdout


if __name__ == "__main__":
    sys.exit(main())

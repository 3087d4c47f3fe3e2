"""Finding kernel headers, and laying Debian's two packages over each other."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from ebpf.errors import HeadersError
from ebpf.kernel import headers
from tests.paths import ROOT


def make_package(sources: Path, version: str, arch: str = "amd64") -> Path:
    package, common = (sources / f"linux-headers-{version}-{suffix}" for suffix in (arch, "common"))
    for path in (package / headers.GENERATED, common / headers.WRITTEN, common / "include/linux/types.h"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(str(path.relative_to(sources)))
    return package


@pytest.fixture
def nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """A machine without headers."""
    monkeypatch.delenv(headers.ENVIRONMENT, raising=False)
    return {"modules": tmp_path / "modules", "sources": tmp_path / "src"}


def test_trees_that_a_killed_process_left_are_swept_and_no_others(tmp_path: Path) -> None:
    left, young, locked, others = (tmp_path / f"voxpop-headers-{n}" for n in ("left", "young", "locked", "x"))
    for tree in (left, young, locked):
        (tree / "include").mkdir(parents=True)
    (left / "include" / "arch").symlink_to(young)
    others.symlink_to(young)
    (tmp_path / "else").mkdir()
    now_s = time.time() + headers.YOUNG_S + 1
    os.utime(young, (now_s, now_s))
    descriptor = os.open(locked, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        assert headers.sweep(tmp_path, now_s) == [left]
        assert {path.name for path in tmp_path.iterdir()} == {young.name, locked.name, others.name, "else"}
        assert (young / "include").is_dir()
    finally:
        os.close(descriptor)
    assert headers.sweep(tmp_path, now_s) == [locked], "its process has ended"


def test_whoever_makes_a_tree_sweeps_before(
    tmp_path: Path, nothing: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    left = tmp_path / "voxpop-headers-left"
    left.mkdir()
    long_ago_s = time.time() - 2 * headers.YOUNG_S
    os.utime(left, (long_ago_s, long_ago_s))
    make_package(nothing["sources"], "6.1.0-9")
    with headers.tree(release="6.1.0-9-amd64", **nothing) as tree:
        assert tree.parent == tmp_path
        assert not left.exists()


def test_no_headers_names_the_package(nothing: dict[str, Path]) -> None:
    with (
        pytest.raises(HeadersError, match=r"Install linux-headers-6\.1\.0-9-amd64, or linux-headers-amd64"),
        headers.tree(release="6.1.0-9-amd64", **nothing),
    ):
        pass


def test_those_of_the_running_kernel_come_first(nothing: dict[str, Path]) -> None:
    make_package(nothing["sources"], "6.1.0-9")
    build = nothing["modules"] / "6.2.0" / "build"
    for header in (headers.GENERATED, headers.WRITTEN):
        (build / header).parent.mkdir(parents=True, exist_ok=True)
        (build / header).touch()
    with headers.tree(release="6.2.0", **nothing) as tree:
        assert tree == build


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: gives a folder to another user")
def test_a_tree_that_is_hidden_is_none(tmp_path: Path) -> None:
    """As from a unit with ProtectKernelModules."""
    build = tmp_path / "build"
    build.mkdir(mode=0o700)
    os.chown(build, 65534, 65534)
    program = (
        "import pathlib, sys\n"
        "from ebpf.kernel import headers\n"
        "print(headers.is_whole(pathlib.Path(sys.argv[1])))\n"
    )
    without = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", sys.executable, "-c", program, str(build)]
    assert subprocess.run(without, cwd=ROOT, check=True, capture_output=True, text=True).stdout == "False\n"


def test_the_environment_comes_next(nothing: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(headers.ENVIRONMENT, "/nowhere")
    with (
        pytest.raises(HeadersError, match=r"names /nowhere, which lacks include/generated/autoconf\.h"),
        headers.tree(release="6.2.0", **nothing),
    ):
        pass


def test_the_newest_package_is_merged(nothing: dict[str, Path]) -> None:
    for version in ("6.1.0-9", "6.1.0-56", "6.1.0-10"):
        make_package(nothing["sources"], version)
    with headers.tree(release="6.18.44-own", **nothing) as tree:
        assert headers.is_whole(tree)
        for header in (headers.GENERATED, headers.WRITTEN, Path("include/linux/types.h")):
            assert "6.1.0-56" in (tree / header).read_text()
    assert not tree.exists()


def test_half_a_package_is_none(nothing: dict[str, Path]) -> None:
    package = make_package(nothing["sources"], "6.1.0-9")
    (headers.common_of(package) / headers.WRITTEN).unlink()
    assert headers.newest_package(nothing["sources"]) is None


def test_a_package_without_the_one_that_it_links_to_names_it(nothing: dict[str, Path]) -> None:
    package = make_package(nothing["sources"], "6.1.0-9")
    (package / "scripts").symlink_to("../../lib/linux-kbuild-6.1/scripts")
    with (
        pytest.raises(HeadersError, match=r"scripts leads to .*not there\. Install linux-kbuild-6\.1$"),
        headers.tree(release="6.18.44-own", **nothing),
    ):
        pass


def test_the_upper_layer_wins(tmp_path: Path) -> None:
    upper, lower, into = (tmp_path / name for name in ("upper", "lower", "into"))
    for layer, names in (
        (upper, ("both/same", "both/deep/a", "upper")),
        (lower, ("both/same", "both/deep/b")),
    ):
        for name in names:
            (layer / name).parent.mkdir(parents=True, exist_ok=True)
            (layer / name).write_text(layer.name)
    into.mkdir()
    headers.overlay(upper, lower, into)
    found = {str(p.relative_to(into)): p.read_text() for p in into.rglob("*") if p.is_file()}
    assert found == {"upper": "upper", "both/same": "upper", "both/deep/a": "upper", "both/deep/b": "lower"}

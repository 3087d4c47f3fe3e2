"""File systems without an inode, without a block, and read-only: a sentence each, and nothing half done.

Each is a real one, mounted in a mount namespace of the command's own.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.service import keysfile
from tests.core.service.test_exhausted import NO_SPACE, write_config
from tests.paths import ROOT

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: mounts file systems")

PATIENCE_S = 120.0
MOUNT = """
set -eu
mount -t tmpfs -o "$OPTIONS" none "$DISK"
if [ -n "$KEYS" ]; then (umask 077; cat "$KEYS" > "$DISK/keys.toml"); fi
if [ -n "$FILL" ]; then
    i=0; while touch "$DISK/full$i" 2>/dev/null; do i=$((i+1)); done
    while [ "$FILL" -gt 0 ]; do i=$((i-1)); FILL=$((FILL-1)); rm "$DISK/full$i"; done
fi
if [ "$OPTIONS" = ro ]; then mount -o remount,ro "$DISK"; fi
before=$(cat "$DISK/keys.toml" 2>/dev/null || true)
set +e
"$@"; status=$?
[ "$before" = "$(cat "$DISK/keys.toml" 2>/dev/null)" ] || echo "the keys have changed"
find "$DISK" -mindepth 1 ! -name 'full*' ! -name keys.toml ! -name filler -printf 'left: %P\\n'
exit $status
"""
"""`FILL` is how many inodes stay free; empty leaves all."""


def voxpop_on(disk: Path, *words: str | Path, options: str, keys: Path | str = "", fill: str = "") -> str:
    """Run a command that must fail with nothing on standard output; what it says."""
    disk.mkdir(exist_ok=True)
    done = subprocess.run(
        ["unshare", "-m", "bash", "-c", MOUNT, "bash", sys.executable, "-m", "voxpop", *map(str, words)],
        cwd=ROOT,
        env=os.environ
        | {"DISK": str(disk), "OPTIONS": options, "KEYS": str(keys), "FILL": fill}
        | {"RUNTIME_DIRECTORY": str(disk)},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert done.stdout == "", "nothing is left, nothing has changed"
    assert done.stderr.startswith("voxpop: "), done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr.removeprefix("voxpop: ").rstrip("\n")


@pytest.fixture
def disk() -> Iterator[Path]:
    """Where one is mounted; its path is short enough for a Unix socket below it."""
    with tempfile.TemporaryDirectory(prefix="vp-") as folder:
        yield Path(folder)


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    keysfile.new(tmp_path / "keys.toml")
    return tmp_path / "keys.toml"


def test_keys_without_an_inode_are_neither_made_nor_changed(disk: Path, keys: Path) -> None:
    few = "nr_inodes=8,size=64k"
    file = disk / "keys.toml"
    told = voxpop_on(disk, "keys", "rotate", file, options=few, keys=keys, fill="0")
    assert told == f"{file}.new: cannot be written: {NO_SPACE}"
    told = voxpop_on(disk, "keys", "new", disk / "other.toml", options=few, fill="0")
    assert told == f"{disk}/other.toml: cannot be written: {NO_SPACE}"
    told = voxpop_on(disk, "api-key", "new", disk / "api.toml", "shop", options=few, fill="0")
    assert told == f"{disk}/api.toml: cannot be written: {NO_SPACE}"


def test_keys_without_a_block_leave_no_half_of_a_file(disk: Path, keys: Path) -> None:
    """The file can be made, and not written."""
    one_page = "size=4k"
    file = disk / "keys.toml"
    told = voxpop_on(disk, "keys", "rotate", file, options=one_page, keys=keys)
    assert told == f"{file}.new: cannot be written: {NO_SPACE}"
    told = voxpop_on(disk, "keys", "new", disk / "other.toml", options=one_page, keys=keys)
    assert told == f"{disk}/other.toml: cannot be written: {NO_SPACE}"


def test_keys_on_a_disk_that_is_read_only(disk: Path) -> None:
    told = voxpop_on(disk, "keys", "new", disk / "keys.toml", options="ro")
    assert told.startswith(f"{disk}/keys.toml: cannot be written: Read-only file system; ")


@pytest.mark.parametrize("free", ["0", "1", "2"])
def test_a_transceiver_without_an_inode_for_its_sockets(free: str, tmp_path: Path, disk: Path) -> None:
    config = write_config(tmp_path)
    told = voxpop_on(disk, "transceiver", "--config", config, options="nr_inodes=6,size=64k", fill=free)
    assert told.startswith(str(disk))
    assert told.endswith(NO_SPACE)

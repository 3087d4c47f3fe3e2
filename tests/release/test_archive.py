"""Archives that depend on names and contents alone."""

from __future__ import annotations

import os
import subprocess
import tarfile
from pathlib import Path

from release.archive import sha256, write_sums, write_tar

EPOCH_S = 1_796_000_000


def folder(root: Path, *names: str) -> Path:
    made = root / "bundle"
    for name in names:
        path = made / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"this is {name}\n")
    return made


def test_neither_time_nor_order_nor_modes_are_seen(tmp_path: Path) -> None:
    one = folder(tmp_path / "one", "a", "wheels/b.whl", "c")
    two = folder(tmp_path / "two", "wheels/b.whl", "c", "a")
    os.utime(two / "c", (1, 1))
    (two / "a").chmod(0o600)
    (two / "wheels").chmod(0o700)
    for made in (one, two):
        write_sums(made)
        write_tar(made, made.parent / "x.tar", EPOCH_S)
    assert (one.parent / "x.tar").read_bytes() == (two.parent / "x.tar").read_bytes()
    with tarfile.open(one.parent / "x.tar") as tar:
        told = {(m.name, m.mode, m.mtime, m.uid, m.gname) for m in tar}
    assert told == {
        (name, 0o755 if name in ("bundle", "bundle/wheels") else 0o644, EPOCH_S, 0, "root")
        for name in (
            "bundle",
            "bundle/a",
            "bundle/c",
            "bundle/wheels",
            "bundle/wheels/b.whl",
            "bundle/SHA256SUMS",
        )
    }


def test_the_sums_are_those_that_sha256sum_reads(tmp_path: Path) -> None:
    made = folder(tmp_path, "a", "wheels/b.whl")
    write_sums(made)
    command = ["sha256sum", "--check", "--strict", "SHA256SUMS"]
    done = subprocess.run(command, cwd=made, capture_output=True, text=True, check=True)
    assert done.stdout == "a: OK\nwheels/b.whl: OK\n"
    assert sha256(made / "a") in (made / "SHA256SUMS").read_text()
    (made / "a").write_text("another\n")
    assert subprocess.run(command, cwd=made, capture_output=True, check=False).returncode == 1

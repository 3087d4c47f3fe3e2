"""Files that come out the same byte by byte, wherever and whenever they are made."""

from __future__ import annotations

import hashlib
import tarfile
from pathlib import Path

SUMS = "SHA256SUMS"


def sha256(path: Path) -> str:
    """In hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_sums(folder: Path) -> None:
    """Put the checksums of all files in a folder beside them, as `sha256sum --check` reads them."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    lines = [f"{sha256(path)}  {path.relative_to(folder).as_posix()}\n" for path in files]
    (folder / SUMS).write_text("".join(lines))


def write_tar(folder: Path, to: Path, epoch_s: int) -> None:
    """A folder as a tar, of which only names and contents are the folder's: the order is that of the names,
    all times are `epoch_s`, owners root, modes 0644 and 0755.
    """
    with tarfile.open(to, "w", format=tarfile.PAX_FORMAT) as tar:
        for path in [folder, *sorted(folder.rglob("*"))]:
            member = tar.gettarinfo(path, str(path.relative_to(folder.parent)))
            member.mtime, member.uid, member.gid = epoch_s, 0, 0
            member.uname = member.gname = "root"
            member.mode = 0o755 if path.is_dir() else 0o644
            if path.is_dir():
                tar.addfile(member)
            else:
                with path.open("rb") as file:
                    tar.addfile(member, file)

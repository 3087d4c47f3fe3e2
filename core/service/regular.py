"""Reading files that an operator has named, keys above all: regular ones, short ones, of whom we trust.

Symbolic links are followed, as Kubernetes has them in the volumes of its secrets; what is judged is what was
opened. Nothing here waits: a FIFO would keep whoever opens it until somebody writes, and a device may do
something when it is opened, so neither is.
"""

from __future__ import annotations

import os
import pwd
import stat
from functools import partial
from pathlib import Path

from core.errors import ConfigError
from core.service.exhausted import reason

KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}
ROOT = 0


def read(path: Path, most_bytes: int) -> bytes:
    """All of a file. Raises ConfigError with its name, what is wrong and what to do."""
    return _read(path, most_bytes, is_secret=False, ours=False)


def read_secret(path: Path, most_bytes: int, *, ours: bool) -> bytes:
    """All of a file that nobody but its owner can read or write. Raises ConfigError as `read` does.

    With `ours` it belongs to root or to the user that we are: its owner knows what is in it, and may change
    it. A daemon asks for that; a verb of root's may look at the keys of a daemon of another user.
    """
    return _read(path, most_bytes, is_secret=True, ours=ours)


def _read(path: Path, most_bytes: int, *, is_secret: bool, ours: bool) -> bytes:
    judge = partial(_check, path, is_secret=is_secret, ours=ours)
    try:
        found = path.stat()
        _check_kind(path, found)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        except PermissionError:
            judge(found)  # whose it is says more than that we may not read it
            raise
        with os.fdopen(descriptor, "rb") as file:
            judge(os.fstat(file.fileno()))  # it may be another by now
            content = file.read(most_bytes + 1)
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read: {_cause(error)}"]) from None
    if len(content) > most_bytes:
        raise ConfigError([f"{path}: is longer than {most_bytes} bytes: name the file that is meant"])
    return content


def _cause(error: OSError) -> str:
    if not isinstance(error, PermissionError):
        return reason(error)
    own = _name(os.geteuid())
    return f"{reason(error)}: {own}, as whom this runs, has to be let into its directories and to read it"


def _check(path: Path, held: os.stat_result, *, is_secret: bool, ours: bool) -> None:
    _check_kind(path, held)
    if ours:
        _check_owner(path, held)
    if is_secret:
        _check_secrecy(path, held)


def _check_kind(path: Path, held: os.stat_result) -> None:
    if not stat.S_ISREG(held.st_mode):
        kind = KINDS.get(stat.S_IFMT(held.st_mode), "something else")
        raise ConfigError([f"{path}: is {kind}, not a file: name a regular file"])


def _check_owner(path: Path, held: os.stat_result) -> None:
    own = os.geteuid()
    if held.st_uid not in (ROOT, own):
        raise ConfigError(
            [
                f"{path}: belongs to {_name(held.st_uid)}, who knows what is in it and may change it; make "
                f"a new one, or run: chown {_name(own)} {path}"
            ]
        )


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def _check_secrecy(path: Path, held: os.stat_result) -> None:
    """A file of root's that we read without being root is given to us by its group, as Kubernetes gives
    secrets to a pod: its group may read it, and do no more.
    """
    by_group = stat.S_IRWXG
    if held.st_uid == ROOT != os.geteuid():
        by_group = stat.S_IWGRP | stat.S_IXGRP
    if held.st_mode & (by_group | stat.S_IRWXO):
        raise ConfigError([f"{path}: holds secrets but others can read it; run: chmod 600 {path}"])

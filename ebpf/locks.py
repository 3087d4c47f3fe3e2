"""Who may use a pin directory: one relay, and one `voxpop dataplane` at a time.

    /sys/fs/bpf/voxpop/lock_relay        held by a relay for as long as it lives
    /sys/fs/bpf/voxpop/lock_dataplane    held while programs and maps are changed

A lock is flock(2) on a directory of the BPF file system itself, since that is what is shared: containers with
a /run of their own each, and versions with another layout, find the same one. It holds no text, so who has it
is read in /proc/locks. It goes with the process, however that ends.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from ebpf.errors import HeldError, PinError

TRIES, PAUSE_S = 5, 0.02
"""Whoever only looks at a lock holds it for an instant."""


class Role(StrEnum):
    """What a lock is for, and the name of its directory."""

    RELAY = "lock_relay"
    DATAPLANE = "lock_dataplane"


class Holder(NamedTuple):
    """Who has a lock, as far as it can be seen from here: not into other PID namespaces."""

    pid: int | None
    command: str
    since_s: float | None
    """When its process was started, Unix time."""

    def __str__(self) -> str:
        if self.pid is None:
            return "a process that cannot be seen from here"
        since = "" if self.since_s is None else time.strftime(", since %Y-%m-%d %H:%M:%S", self._started())
        return f"process {self.pid} ({self.command}){since}"

    def _started(self) -> time.struct_time:
        return time.localtime(self.since_s)


def take(pin_dir: Path, role: Role) -> int:
    """Take a lock of a pin directory that is there; a descriptor that holds it until it is closed.

    Raises HeldError, which names the holder; PinError without the right to it.
    """
    descriptor = _open(pin_dir / role)
    try:
        for attempt in range(TRIES):
            if _try(descriptor, fcntl.LOCK_EX):
                return descriptor
            if attempt + 1 < TRIES:
                time.sleep(PAUSE_S)
        raise HeldError(f"{pin_dir} is in use", _holder_of(descriptor))
    except BaseException:
        os.close(descriptor)
        raise


@contextlib.contextmanager
def held(pin_dir: Path, role: Role) -> Iterator[None]:
    """Hold a lock meanwhile; see `take`."""
    descriptor = take(pin_dir, role)
    try:
        yield
    finally:
        os.close(descriptor)


def holder(pin_dir: Path, role: Role) -> Holder | None:
    """Who has a lock; None where nobody does. Raises PinError without the right to look."""
    if not (pin_dir / role).exists():
        return None
    descriptor = _open(pin_dir / role)
    try:
        return None if _try(descriptor, fcntl.LOCK_SH) else _holder_of(descriptor)
    finally:
        os.close(descriptor)


def _open(path: Path) -> int:
    try:
        path.mkdir(mode=0o700, exist_ok=True)
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise PinError(f"nothing is pinned at {path.parent}: `voxpop dataplane run` first") from None
    except OSError as error:
        raise PinError(f"cannot lock {path}: {error.strerror}") from None


def _try(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno != errno.EWOULDBLOCK:
            raise PinError(f"cannot lock a pin directory: {error.strerror}") from None
        return False
    return True


def _holder_of(descriptor: int) -> Holder:
    found = os.fstat(descriptor)
    where = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
    for line in Path("/proc/locks").read_text().splitlines():
        words = line.split()
        if len(words) >= 6 and words[1] == "FLOCK" and words[5] == where and words[4].isdigit():
            pid = int(words[4])
            return Holder(pid, _command(pid), _started_at_s(pid))
    return Holder(None, "", None)


def _command(pid: int) -> str:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return "ended meanwhile"
    known = [
        word.decode(errors="replace") for word in words if word in (b"relay", b"dataplane", b"detach", b"run")
    ]
    return "voxpop " + " ".join(known) if known else Path(words[0].decode(errors="replace")).name


def _started_at_s(pid: int) -> float | None:
    """proc(5): field 22 of stat, in ticks since the boot."""
    try:
        ticks = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
        boot = next(line for line in Path("/proc/stat").read_text().splitlines() if line.startswith("btime"))
    except (OSError, StopIteration):
        return None
    return int(boot.split()[1]) + ticks / os.sysconf("SC_CLK_TCK")

"""Mounting a BPF file system of one's own: all that is pinned in it goes with it."""

from __future__ import annotations

import ctypes
import errno
import os
from pathlib import Path

from ebpf.errors import PinError

_MNT_DETACH = 2


def mount(directory: Path) -> None:
    """Mount one at a directory that exists. Raises PinError."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"voxpop", bytes(directory), b"bpf", 0, None) != 0:
        raise PinError(f"cannot mount a BPF file system at {directory}: {os.strerror(ctypes.get_errno())}")


def unmount(directory: Path) -> None:
    """Unmount all that is mounted at a directory, in use or not. Raises PinError."""
    libc = ctypes.CDLL(None, use_errno=True)
    while libc.umount2(bytes(directory), _MNT_DETACH) == 0:
        pass
    if ctypes.get_errno() not in (errno.EINVAL, errno.ENOENT):  # not, or no longer, mounted
        raise PinError(f"cannot unmount {directory}: {os.strerror(ctypes.get_errno())}")

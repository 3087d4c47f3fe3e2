"""What a process gives up for good: capabilities, the means to gain any, core dumps, being looked into.

A unit of systemd may have taken all of it before; a daemon that root starts by hand has it all. Everything
here is of one thread and of those that it starts later (capabilities(7), prctl(2)), so it belongs before any
other.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import logging
import os
import resource
import stat
import sys
from collections.abc import Collection, Iterable
from enum import IntEnum
from pathlib import Path

from core.service import launch

logger = logging.getLogger(__name__)


class Capability(IntEnum):
    """linux/capability.h, those that we have a use for."""

    DAC_READ_SEARCH = 2
    SETPCAP = 8
    NET_BIND_SERVICE = 10
    NET_ADMIN = 12
    NET_RAW = 13
    SYS_ADMIN = 21
    PERFMON = 38
    BPF = 39


_WHILE_OPENING = (Capability.SETPCAP, Capability.NET_BIND_SERVICE)
"""What a daemon keeps until its sockets are open: ports below 1024, and to be able to give up the rest."""

_PR_SET_DUMPABLE = 4
_PR_CAPBSET_READ = 23
_PR_CAPBSET_DROP = 24
_PR_SET_NO_NEW_PRIVS = 38
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_IS_SET = 1
_PR_CAP_AMBIENT_LOWER = 3
_SETS = ("effective", "permitted", "inheritable")
_VERSION_3 = 0x20080522
_COUNT = 64
"""That the sets have room for; of those that a kernel does not know none is set."""


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Data(ctypes.Structure):
    """Twice, for 32 capabilities each."""

    _fields_ = tuple((name, ctypes.c_uint32) for name in _SETS)


_libc = ctypes.CDLL(None, use_errno=True)
_libc.prctl.argtypes = (ctypes.c_int, *[ctypes.c_ulong] * 4)


def keep_only(kept: Collection[Capability] = ()) -> None:
    """Give up every capability but these, as far as there are any, in all five sets; and for this process and
    all that it starts, the means to gain others, core dumps and being looked into by others of its user.

    Children have what is kept, whoever the user is: for root by the bounding set, for others by the ambient
    set, where it is in that already. Without CAP_SETPCAP the bounding set stays; without the means
    to gain capabilities it gives none.
    """
    kept = {*kept, *for_code()}
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _prctl(_PR_SET_DUMPABLE, 0)
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    for number in range(_COUNT):
        if number not in kept:
            _drop(number)
    _set(kept)


def keep_while_opening(kept: Collection[Capability] = ()) -> None:
    """What a daemon does first, before it imports what starts threads: as `keep_only`, but for what opening
    takes.
    """
    os.environ.update(launch.ONE_THREAD)
    keep_only((*kept, *_WHILE_OPENING))


def for_code() -> tuple[Capability, ...]:
    """What it takes to go on importing and starting what is installed: nothing, but where root runs it out of
    a directory that only another user may enter, a checkout in somebody's home.
    """
    places = {Path(place).resolve() for place in (__file__, sys.prefix, sys.base_prefix)}
    folders = {folder for place in places for folder in (place, *place.parents) if folder.is_dir()}
    return () if all(_may_enter(folder.stat()) for folder in folders) else (Capability.DAC_READ_SEARCH,)


def kernel_release() -> tuple[int, int]:
    """Of Linux: (6, 1) for 6.1.0-25-amd64."""
    major, minor = os.uname().release.split("-")[0].split(".")[:2]
    return int(major), int(minor)


def missing(wanted: Iterable[Capability]) -> list[str]:
    """Those that this process has not, as `CAP_…`. SYS_ADMIN includes BPF and PERFMON, as in the kernel."""
    status = Path("/proc/self/status").read_text()
    bits = next(int(line.split()[1], 16) for line in status.splitlines() if line.startswith("CapEff:"))
    if bits >> Capability.SYS_ADMIN & 1:
        bits |= 1 << Capability.BPF | 1 << Capability.PERFMON
    return [f"CAP_{capability.name}" for capability in wanted if not bits >> capability & 1]


def _may_enter(folder: os.stat_result) -> bool:
    """By its mode alone, without any capability."""
    if folder.st_uid == os.geteuid():
        return folder.st_mode & stat.S_IXUSR != 0
    if folder.st_gid in (os.getegid(), *os.getgroups()):
        return folder.st_mode & stat.S_IXGRP != 0
    return folder.st_mode & stat.S_IXOTH != 0


def _drop(number: int) -> None:
    """From what can be had later."""
    if _libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_IS_SET, number, 0, 0) == 1:
        _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_LOWER, number)
    if _libc.prctl(_PR_CAPBSET_READ, number, 0, 0, 0) == 1:
        with contextlib.suppress(PermissionError):
            _prctl(_PR_CAPBSET_DROP, number)


def _set(kept: Collection[int]) -> None:
    """From what is had."""
    header, data = _Header(_VERSION_3, 0), (_Data * 2)()
    _check(_libc.capget(ctypes.byref(header), data))
    changes = False
    for half, words in enumerate(data):
        mask = sum(1 << number - 32 * half for number in kept if number // 32 == half)
        for name in _SETS:
            before = getattr(words, name)
            setattr(words, name, before & mask)
            changes |= before & mask != before
    if not changes:
        return  # nor asked for, where a filter of system calls would refuse it
    try:
        _check(_libc.capset(ctypes.byref(header), data))
    except PermissionError:
        logger.warning("capabilities are kept, as the system call capset is refused: have a unit allow it")


def _prctl(option: int, second: int, third: int = 0) -> None:
    _check(_libc.prctl(option, second, third, 0, 0))


def _check(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number or errno.EINVAL, os.strerror(number))

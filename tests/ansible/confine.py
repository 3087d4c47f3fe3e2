"""Runs a command as a unit would: `[*prefix(UNIT), *COMMAND]`, as root.

It applies what the kernel, and not the file system, holds a service to: user, capabilities, system calls,
address families, no new privileges, no memory that is written and run. What systemd adds by mounts is not
here. The last step is in a process that has lost its rights already, so the command is `exec`ed from there.
"""

from __future__ import annotations

import ctypes
import json
import os
import socket
import sys
from pathlib import Path

USERS = {"voxpop-edge": 64801, "voxpop-announce": 64802, "voxpop-transceiver": 64803}
"""Numbers that nobody has, for those that a host is given."""
PR_SET_MDWE, MDWE_REFUSE_EXEC_GAIN = 65, 1
ALLOW, DENY = 0x7FFF0000, 0x00050000 | 1
"""SCMP_ACT_ALLOW, and SCMP_ACT_ERRNO(EPERM)."""
EQUAL = 4
"""SCMP_CMP_EQ."""


class Comparison(ctypes.Structure):
    """struct scmp_arg_cmp."""

    _fields_ = (
        ("arg", ctypes.c_uint),
        ("op", ctypes.c_int),
        ("datum_a", ctypes.c_uint64),
        ("datum_b", ctypes.c_uint64),
    )


def prefix(unit: Path, *more_calls: str) -> list[str]:
    """What comes before a command; `more_calls` are system calls that the scene of a test makes."""
    from tests.ansible.units import read, system_calls, words  # not where this is run by its path

    service = read(unit)["Service"]
    uid = USERS[service["User"][0]]
    groups = [str(USERS[group]) for group in words(service, "SupplementaryGroups")]
    names = [word.removeprefix("CAP_").lower() for word in words(service, "CapabilityBoundingSet")]
    caps = ",".join(["-all", *(f"+{name}" for name in names)])
    told = {
        "calls": sorted((system_calls(service) | set(more_calls)) - {"socket"}),
        "denies_write_execute": service["MemoryDenyWriteExecute"] == ["yes"],
        "families": [getattr(socket, name) for name in words(service, "RestrictAddressFamilies")],
    }
    return [
        "setpriv", f"--reuid={uid}", f"--regid={uid}",
        f"--groups={','.join(groups)}" if groups else "--clear-groups",
        f"--bounding-set={caps}", f"--inh-caps={caps}", f"--ambient-caps={caps}", "--no-new-privs",
        sys.executable, str(Path(__file__)), json.dumps(told),
    ]  # fmt: skip


def confine(calls: list[str], families: list[int], *, denies_write_execute: bool) -> None:
    """This process, and all that come of it."""
    libc = ctypes.CDLL(None, use_errno=True)
    if denies_write_execute and libc.prctl(PR_SET_MDWE, MDWE_REFUSE_EXEC_GAIN, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "PR_SET_MDWE")
    seccomp = ctypes.CDLL("libseccomp.so.2")
    seccomp.seccomp_init.restype = ctypes.c_void_p
    filter_ = ctypes.c_void_p(seccomp.seccomp_init(DENY))
    for name in calls:
        number = seccomp.seccomp_syscall_resolve_name(name.encode())
        if number >= 0:  # those of other machines are negative
            _check(seccomp.seccomp_rule_add_array(filter_, ALLOW, number, 0, None))
    number = seccomp.seccomp_syscall_resolve_name(b"socket")
    for family in families:
        comparison = Comparison(0, EQUAL, family, 0)
        _check(seccomp.seccomp_rule_add_array(filter_, ALLOW, number, 1, ctypes.byref(comparison)))
    _check(seccomp.seccomp_load(filter_))


def _check(result: int) -> None:
    if result != 0:
        raise OSError(-result, os.strerror(-result))


if __name__ == "__main__":
    confine(**json.loads(sys.argv[1]))
    os.execvp(sys.argv[2], sys.argv[2:])

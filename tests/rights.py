"""What processes may do, as the kernel has it."""

from __future__ import annotations

import ctypes
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from core.service.privileges import Capability, for_code

CAPABILITY_VERSION_3 = 0x20080522
SYS_PTRACE = 19
SETS = ("CapInh", "CapPrm", "CapEff", "CapAmb")


@dataclass(frozen=True)
class Rights:
    """Of all threads of a process together."""

    capabilities: frozenset[int]
    """In any set but the bounding set."""
    bounding: frozenset[int]
    may_gain: bool
    """By what it executes."""
    dumps_core: bool
    is_seen: bool
    """By a process of its user that has its capabilities: it can be traced, and its memory read."""


def rights(pid: int) -> Rights:
    held, bounding, may_gain = 0, 0, False
    for thread in Path(f"/proc/{pid}/task").iterdir():
        status = dict(line.split(":\t", 1) for line in (thread / "status").read_text().splitlines())
        for name in SETS:
            held |= int(status[name], 16)
        bounding |= int(status["CapBnd"], 16)
        may_gain |= status["NoNewPrivs"] == "0"
    limits = Path(f"/proc/{pid}/limits").read_text().splitlines()
    (core,) = (line.split()[4:6] for line in limits if line.startswith("Max core file size"))
    return Rights(_bits(held), _bits(bounding), may_gain, core != ["0", "0"], _is_seen(pid))


def _is_seen(pid: int) -> bool:
    """Asked in a thread of its own, for that gives up what root may do to all and becomes that user."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        return pool.submit(_looks_into, pid).result()


def _looks_into(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status").read_text()
    libc = ctypes.CDLL(None, use_errno=True)
    header, sets = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0), (ctypes.c_uint32 * 6)()
    assert libc.capget(header, sets) == 0
    for which in range(3):
        sets[which] &= ~(1 << SYS_PTRACE)
    assert libc.capset(header, sets) == 0
    ids = dict(line.split(":\t", 1) for line in status.splitlines() if line.startswith(("Uid:", "Gid:")))
    libc.setfsgid(int(ids["Gid"].split()[3]))
    libc.setfsuid(int(ids["Uid"].split()[3]))
    try:
        Path(f"/proc/{pid}/exe").readlink()  # ptrace(2), PTRACE_MODE_READ_FSCREDS
    except PermissionError:
        return False
    return True


def _bits(of: int) -> frozenset[int]:
    return frozenset(bit for bit in range(64) if of >> bit & 1)


def only(kept: Collection[Capability] = (), bounding: Collection[Capability] | None = None) -> Rights:
    """Of who has given up all others, but for that which takes it to its code."""
    held = {*kept, *for_code()}
    most = held if bounding is None else {*bounding, *for_code()}
    return Rights(frozenset(held), frozenset(most), may_gain=False, dumps_core=False, is_seen=False)

"""What processes may do, as the kernel has it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from core.service.privileges import Capability

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
    return Rights(_bits(held), _bits(bounding), may_gain, core != ["0", "0"])


def _bits(of: int) -> frozenset[int]:
    return frozenset(bit for bit in range(64) if of >> bit & 1)


def only(kept: Collection[Capability] = (), bounding: Collection[Capability] | None = None) -> Rights:
    """Of who has given up all others."""
    return Rights(frozenset(kept), frozenset(kept if bounding is None else bounding), False, False)

"""The capabilities of this process, and what lacks without them."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from pathlib import Path


class Capability(IntEnum):
    """linux/capability.h, those that the fast path needs."""

    NET_ADMIN = 12
    NET_RAW = 13
    SYS_ADMIN = 21
    PERFMON = 38
    BPF = 39


DATAPLANE = (Capability.BPF, Capability.NET_ADMIN, Capability.PERFMON)
"""To load and to attach."""
RELAY = (Capability.BPF, Capability.NET_ADMIN, Capability.NET_RAW)
"""To use the maps, to have neighbours resolved, to send from a NAT port."""


def missing(wanted: Iterable[Capability]) -> list[str]:
    """Those that this process has not, as `CAP_…`. SYS_ADMIN includes BPF and PERFMON, as in the kernel."""
    status = Path("/proc/self/status").read_text()
    bits = next(int(line.split()[1], 16) for line in status.splitlines() if line.startswith("CapEff:"))
    if bits >> Capability.SYS_ADMIN & 1:
        bits |= 1 << Capability.BPF | 1 << Capability.PERFMON
    return [f"CAP_{capability.name}" for capability in wanted if not bits >> capability & 1]

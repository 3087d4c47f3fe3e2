"""Whether the interrupts of the fast path's interfaces are at CPUs of their own: XDP runs where they are."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from edge.ops.doctor.checks import Check, note, ok

SYSFS = Path("/sys/class/net")
PROC = Path("/proc/irq")
NO_QUEUE = ("config", "async", "mgmnt", "output", "-tx-")
"""Parts of the names of interrupts by which no packets come in."""


def check(interfaces: Sequence[str], *, sysfs: Path = SYSFS, proc: Path = PROC) -> Iterator[Check]:
    """For each interface that has interrupts; a virtual one has none."""
    cpus = os.cpu_count() or 1
    for name in interfaces:
        if placed := queue_cpus(sysfs / name / "device", proc):
            yield judge(f"interrupts {name}", placed, cpus)


def judge(label: str, placed: Sequence[frozenset[int]], cpus: int) -> Check:
    """`placed` has the CPUs of each queue's interrupt; `cpus` is how many the host has."""
    used = frozenset[int]().union(*placed)
    words = f"{len(placed)} queues at CPUs {', '.join(map(str, sorted(used)))}"
    if len(used) < min(len(placed), cpus):
        return note(
            label,
            f"{words}, while the host has {cpus}: some carry what others could",
            "set edge_cpus in the inventory, or write to /proc/irq/N/smp_affinity_list; see docs/pop.md",
        )
    return ok(label, words)


def queue_cpus(device: Path, proc: Path) -> list[frozenset[int]]:
    """Where the interrupts of receive queues are served, by the number of the interrupt."""
    device = device.resolve()
    folder = next(
        (each / "msi_irqs" for each in (device, device.parent) if (each / "msi_irqs").is_dir()), None
    )
    if folder is None:
        return []
    found = []
    for irq in sorted(int(entry.name) for entry in folder.iterdir()):
        own = proc / str(irq)
        names = [entry.name for entry in own.iterdir() if entry.is_dir()] if own.is_dir() else []
        if names and not any(part in names[0] for part in NO_QUEUE):
            found.append(_cpus((own / "effective_affinity_list").read_text()))
    return found


def _cpus(text: str) -> frozenset[int]:
    """Of `0-2,5`, as the kernel writes it."""
    ranges = (part.partition("-") for part in text.strip().split(",") if part)
    return frozenset(cpu for first, _, last in ranges for cpu in range(int(first), int(last or first) + 1))

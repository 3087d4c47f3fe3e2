"""What the fast path counted, from its pinned counters: since its maps were made, or per second."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from ebpf import pins
from ebpf.kernel.bpfmap import BpfMap
from ebpf.tables import counts_of
from ebpf.verdict import Count, Family, Reason


class Row(NamedTuple):
    """Packets of one verdict."""

    verdict: Reason
    family: Family
    counted: Count


class Reading(NamedTuple):
    """All of them at one time."""

    at_s: float
    """Monotonic."""
    rows: list[Row]


def read(pin_dir: Path, now_s: float) -> Reading:
    """What there is at `now_s`, monotonic seconds. Raises PinError."""
    opened = BpfMap.open(pins.COUNTERS_MAP, pin_dir / pins.COUNTERS_MAP.name)
    try:
        counts = counts_of(opened)
    finally:
        opened.close()
    rows = [Row(r, family, c) for family, reasons in counts.items() for r, c in reasons.items()]
    return Reading(now_s, sorted(rows, key=lambda row: (list(Reason).index(row.verdict), row.family)))


def rates(before: Reading, after: Reading) -> list[tuple[Row, float, float]]:
    """Each row of `after` with packets/s and bytes/s since `before`."""
    seconds = after.at_s - before.at_s
    return [
        (
            new,
            (new.counted.packets - old.counted.packets) / seconds,
            (new.counted.bytes - old.counted.bytes) / seconds,
        )
        for old, new in zip(before.rows, after.rows, strict=True)
    ]

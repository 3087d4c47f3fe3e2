"""The pinned counters, read and compared."""

from __future__ import annotations

import ctypes
from pathlib import Path

import pytest

from ebpf import pins
from ebpf.errors import PinError
from ebpf.kernel.bpfmap import BpfMap
from ebpf.kernel.libbpf import possible_cpus
from ebpf.layout import Counter
from ebpf.verdict import FAMILIES, KNOWN, REASON_STRIDE, REASONS, Count, Family, Reason
from edge.ops.counter_query import Reading, rates, read


def add(pin_dir: Path, family: Family, reason: Reason, packets: int, size: int) -> None:
    """As the program does on one CPU."""
    opened = BpfMap.open(pins.COUNTERS_MAP, pin_dir / pins.COUNTERS_MAP.name)
    place = FAMILIES.index(family) * REASON_STRIDE + KNOWN.index(reason)
    there = opened.per_cpu()[place]
    values = (Counter * possible_cpus())(*(Counter(int(p), int(b)) for p, b in there.tolist()))
    values[-1].packets += packets
    values[-1].bytes += size
    library_update(opened, place, values)
    opened.close()


def library_update(
    opened: BpfMap[ctypes.c_uint32, Counter], place: int, values: ctypes.Array[Counter]
) -> None:
    from ebpf.kernel.libbpf import check, library

    result = library().bpf_map_update_elem(
        opened.fd, ctypes.byref(ctypes.c_uint32(place)), ctypes.byref(values), 0
    )
    check(result, "count")


def of(reading: Reading, family: Family, reason: Reason) -> Count:
    (found,) = [row.counted for row in reading.rows if (row.family, row.verdict) == (family, reason)]
    return found


def test_every_verdict_is_there_once_in_the_order_of_the_reasons(pin_dir: Path) -> None:
    rows = read(pin_dir, 0.0).rows
    assert len(rows) == len(REASONS) * len(FAMILIES) == len({(row.verdict, row.family) for row in rows})
    assert [row.verdict for row in rows[:: len(FAMILIES)]] == list(REASONS)


def test_what_was_counted_between_two_readings_by_the_second(pin_dir: Path) -> None:
    before = read(pin_dir, 10.0)
    add(pin_dir, Family.IPV6, Reason.DROP_TTL, 30, 3000)
    after = read(pin_dir, 12.5)
    old, new = (of(each, Family.IPV6, Reason.DROP_TTL) for each in (before, after))
    assert (new.packets - old.packets, new.bytes - old.bytes) == (30, 3000)
    grown = {(row.family, row.verdict): speeds for row, *speeds in rates(before, after) if any(speeds)}
    assert grown == {(Family.IPV6, Reason.DROP_TTL): [12.0, 1200.0]}


def test_where_nothing_is_pinned_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(PinError, match=str(tmp_path)):
        read(tmp_path, 0.0)

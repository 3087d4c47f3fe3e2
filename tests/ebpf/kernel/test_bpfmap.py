"""Maps of the kernel's own, through libbpf."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator

import numpy as np
import pytest

from ebpf import layout
from ebpf.errors import MapError, MapFullError
from ebpf.kernel.bpfmap import BATCH, BpfMap, MapSpec
from ebpf.kernel.libbpf import F_MMAPABLE, NOEXIST, MapKind, possible_cpus


class Key(ctypes.Structure):
    _fields_ = (("client", ctypes.c_uint32), ("port", ctypes.c_uint16), ("vip", ctypes.c_uint16))


class Value(ctypes.Structure):
    _fields_ = (("slot", ctypes.c_uint32), ("mark", ctypes.c_uint32))


HASH = MapSpec("test_hash", MapKind.HASH, Key, Value)
ARRAY = MapSpec("test_array", MapKind.ARRAY, ctypes.c_uint32, layout.Counter, None, F_MMAPABLE)
PER_CPU = MapSpec("test_percpu", MapKind.PERCPU_ARRAY, ctypes.c_uint32, layout.Counter)
FlowMap = BpfMap[Key, Value]


@pytest.fixture
def flows(bpffs: object) -> Iterator[FlowMap]:
    opened = BpfMap.create(HASH, 3 * BATCH)
    yield opened
    opened.close()


def test_update_lookup_delete(flows: FlowMap) -> None:
    key = Key(1, 2, 3)
    assert flows.lookup(key) is None
    assert not flows.delete(key)
    flows.update(key, Value(7, 8))
    assert bytes(flows.lookup(key) or b"") == bytes(Value(7, 8))
    with pytest.raises(MapError, match="cannot write test_hash: File exists"):
        flows.update(key, Value(9, 9), NOEXIST)
    assert flows.delete(key)
    assert flows.lookup(key) is None


def fill(flows: FlowMap, count: int) -> None:
    for number in range(count):
        flows.update(Key(number, 0, 0), Value(3 * number, 0))


@pytest.mark.parametrize("count", [0, 1, BATCH, 3 * BATCH])
def test_batches(flows: FlowMap, count: int) -> None:
    fill(flows, count)
    found_keys, found_values = flows.items()
    order = np.argsort(found_keys["client"])
    assert found_keys["client"][order].tolist() == list(range(count))
    assert found_values["slot"][order].tolist() == [3 * n for n in range(count)]


def test_a_full_map_refuses_and_keeps(flows: FlowMap) -> None:
    fill(flows, 3 * BATCH)
    with pytest.raises(MapFullError, match=f"test_hash is full: it holds {3 * BATCH} entries"):
        flows.update(Key(1 << 31, 0, 0), Value())
    assert len(flows.items()[0]) == 3 * BATCH


def test_a_view_is_the_map_itself(bpffs: object) -> None:
    array = BpfMap.create(ARRAY, 1000)
    view = array.view(writable=True)
    view["packets"][999] = 42
    assert bytes(array.lookup(ctypes.c_uint32(999)) or b"") == bytes(layout.Counter(42, 0))
    array.update(ctypes.c_uint32(3), layout.Counter(1, 2))
    readable = array.view()
    array.close()
    assert (int(view["bytes"][3]), int(readable["bytes"][3])) == (2, 2)
    with pytest.raises(ValueError, match="read-only"):
        readable["bytes"][3] = 5


def test_a_hash_has_no_view(flows: FlowMap) -> None:
    with pytest.raises(MapError, match="cannot map test_hash"):
        flows.view()


def test_per_cpu_values(bpffs: object) -> None:
    counters = BpfMap.create(PER_CPU, 5)
    assert counters.per_cpu().shape == (5, possible_cpus())
    assert counters.per_cpu()["packets"].sum() == 0
    counters.close()

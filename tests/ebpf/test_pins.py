"""Making, finding and refusing pinned maps."""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ebpf import layout, pins
from ebpf.errors import MapError, PinError
from ebpf.kernel.bpfmap import BpfMap, MapSpec
from ebpf.kernel.libbpf import MapKind
from ebpf.tables import Tables
from ebpf.verdict import COUNTERS, FAMILIES
from tests.ebpf.rig import FLOW4, FLOW6, SIZES


@pytest.fixture
def pin_dir(bpffs: Path) -> Iterator[Path]:
    directory = bpffs / "pins" / "v1"
    yield directory
    pins.unpin(directory)


def test_the_path_carries_the_schema() -> None:
    assert pins.pin_dir() == Path(f"/sys/fs/bpf/voxpop/v{layout.SCHEMA_VERSION}")


def test_made_once_and_found_again(pin_dir: Path) -> None:
    assert set(pins.ensure_maps(pin_dir, SIZES)) == set(pins.entries(SIZES))
    Tables(pin_dir).set_clock(77)
    assert pins.ensure_maps(pin_dir, SIZES) == []
    assert int(Tables(pin_dir).config["clock_min"]) == 77 | layout.CLOCK_SET
    assert pin_dir.stat().st_mode & 0o777 == 0o700


def test_where_the_kernel_refuses_one_none_of_the_new_ones_stays(
    pin_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who asks for more entries than a map can have gets E2BIG or ENOMEM."""
    wanted = pins.entries(SIZES)
    *_, last = wanted
    spec, _count = wanted[last]
    too_many = dataclasses.replace(spec, kind=MapKind.ARRAY, flags=0)
    monkeypatch.setattr(pins, "entries", lambda _: wanted | {last: (too_many, 2**32 - 1)})
    with pytest.raises(MapError, match=f"cannot create the map {spec.name} of 4294967295 entries: "):
        pins.ensure_maps(pin_dir, SIZES)
    assert list(pin_dir.iterdir()) == []
    monkeypatch.undo()
    first, *_ = pins.ensure_maps(pin_dir, SIZES)
    (pin_dir / last).unlink()
    monkeypatch.setattr(pins, "entries", lambda _: wanted | {last: (too_many, 2**32 - 1)})
    with pytest.raises(MapError):
        pins.ensure_maps(pin_dir, SIZES)
    assert (pin_dir / first).exists(), "those of before stay"
    assert not (pin_dir / last).exists()


def test_another_size_is_refused(pin_dir: Path) -> None:
    pins.ensure_maps(pin_dir, SIZES)
    with pytest.raises(PinError, match=r"index4 has room for 88 flows, the configuration asks for 99"):
        pins.ensure_maps(pin_dir, dataclasses.replace(SIZES, max_flows4=89))


@pytest.mark.parametrize(
    ("kind", "key", "value", "entries", "field"),
    [
        (MapKind.HASH, layout.Source, layout.Debt, 256, "type"),
        (MapKind.LRU_HASH, layout.Local, layout.Debt, 256, "key_size"),
        (MapKind.LRU_HASH, layout.Source, layout.Down, 256, "value_size"),
    ],
)
def test_another_shape_is_refused(
    pin_dir: Path,
    kind: MapKind,
    key: type[ctypes.Structure],
    value: type[ctypes.Structure],
    entries: int,
    field: str,
) -> None:
    pins.ensure_maps(pin_dir, SIZES)
    (pin_dir / "punt_sources").unlink()
    impostor = BpfMap.create(MapSpec("punt_sources", kind, key, value), entries)
    impostor.pin(pin_dir / "punt_sources")
    impostor.close()
    with pytest.raises(PinError, match=f"punt_sources is not the map .* its {field} is"):
        Tables(pin_dir)
    with pytest.raises(PinError, match=f"its {field} is"):
        pins.ensure_maps(pin_dir, SIZES)


def test_another_flag_is_refused(pin_dir: Path) -> None:
    pins.ensure_maps(pin_dir, SIZES)
    (pin_dir / "upstream4").unlink()
    plain = dataclasses.replace(pins.UPSTREAM4, flags=0)
    impostor = BpfMap.create(plain, 2 * layout.PORTS)
    impostor.pin(pin_dir / "upstream4")
    impostor.close()
    with pytest.raises(PinError, match="its map_flags is 0"):
        Tables(pin_dir)


def test_a_larger_map_than_this_version_needs_is_taken(pin_dir: Path) -> None:
    """As a newer one may have made it. A smaller one is not."""
    pins.ensure_maps(pin_dir, SIZES)
    for change, refusal in ((64, None), (-1, "its max_entries is")):
        (pin_dir / "counters").unlink()
        other = BpfMap.create(pins.COUNTERS_MAP, COUNTERS + change)
        other.pin(pin_dir / "counters")
        other.close()
        with pytest.raises(PinError, match=refusal) if refusal else contextlib.nullcontext():
            pins.ensure_maps(pin_dir, SIZES)
            assert len(Tables(pin_dir).counts()) == len(FAMILIES)


def test_flows_of_another_version_are_counted_if_they_can_be_read(pin_dir: Path) -> None:
    other = pin_dir.with_name("v2")
    pins.ensure_maps(other, SIZES)
    try:
        assert pins.other_versions(pin_dir) == [other]
        assert pins.live_flows(other) == 0
        tables = Tables(other)
        tables.write_slot(FLOW4)
        tables.write_slot(FLOW6)
        tables.close()
        assert pins.live_flows(other) == 2
        (other / "upstream6").unlink()
        assert pins.live_flows(other) is None
    finally:
        pins.unpin(other)


def test_without_the_dataplane(pin_dir: Path) -> None:
    with pytest.raises(PinError, match="config: `voxpop dataplane run` first"):
        Tables(pin_dir)
    with pytest.raises(PinError, match="voxpop_public: `voxpop dataplane run` first"):
        pins.open_pinned_program(pin_dir, "voxpop_public")


def test_opening_in_part_leaves_no_descriptor(pin_dir: Path) -> None:
    pins.ensure_maps(pin_dir, SIZES)
    (pin_dir / "counters").unlink()
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(PinError, match="counters"):
        Tables(pin_dir)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, as the other side of the question")
def test_no_bpffs_says_how_to_mount_one(tmp_path: Path) -> None:
    with pytest.raises(PinError, match="is no BPF file system: `mount -t bpf"):
        pins.ensure_maps(tmp_path / "voxpop" / "v1", SIZES)


def test_a_size_that_the_kernel_refuses(pin_dir: Path) -> None:
    """More than any memory, and so refused at once: what nearly fits is tried, at the cost of all else."""
    with pytest.raises(MapError, match="cannot create the map index4 of 4294967295 entries"):
        pins.ensure_maps(pin_dir, dataclasses.replace(SIZES, max_flows4=pins.FLOWS_PER_BUCKET * (2**32 - 1)))


def test_unpin_twice(pin_dir: Path) -> None:
    pins.ensure_maps(pin_dir, SIZES)
    pins.unpin(pin_dir)
    pins.unpin(pin_dir)
    assert not pin_dir.exists()

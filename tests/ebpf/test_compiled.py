"""What is kept of compiled programs, and what is not believed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ebpf import compiled
from ebpf.compiled import KEPT, Compiled
from ebpf.errors import CacheError, MapError
from ebpf.kernel.programs import program_info
from tests.ebpf.rig import Rig

PASS = bytes.fromhex("b700000002000000 9500000000000000")
"""r0 = XDP_PASS; exit"""
WILD = bytes.fromhex("7910000000000000 9500000000000000")
"""r0 = a u64 of the context, which has none there; exit"""
KEY = "a" * 64
PROGRAMS = {"one": Compiled(PASS, ((0, "config"), (7, "counters")), "GPL"), "two": Compiled(PASS, (), "MIT")}


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A directory with PROGRAMS in it."""
    compiled.write(tmp_path / "some" / "cache", KEY, PROGRAMS)
    return tmp_path / "some" / "cache"


def test_what_is_written_is_read(cache: Path) -> None:
    assert compiled.read(cache, KEY) == PROGRAMS
    assert compiled.read(cache, "b" * 64) is None
    assert compiled.read(cache / "absent", KEY) is None
    assert cache.stat().st_mode & 0o077 == 0


def link(file: Path) -> None:
    """What it was, at another place."""
    file.rename(file.with_name("elsewhere"))
    file.symlink_to("elsewhere")


FAULTS: dict[str, Callable[[Path], object]] = {
    "cut off": lambda file: file.write_bytes(file.read_bytes()[:-1]),
    "empty": lambda file: file.write_bytes(b""),
    "another byte": lambda file: file.write_bytes(file.read_bytes().replace(b"config", b"comfig")),
    "others can write it": lambda file: file.chmod(0o620),
    "others can write the directory": lambda file: file.parent.chmod(0o702),
    "somebody else's": lambda file: os.chown(file, 65534, -1),
    "somebody else's directory": lambda file: os.chown(file.parent, 65534, -1),
    "a link": link,
    "in a link": lambda file: link(file.parent),
    "a directory": lambda file: (file.unlink(), file.mkdir()),
}


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: gives files away")
@pytest.mark.parametrize("fault", FAULTS)
def test_what_others_could_have_written_is_not_believed(cache: Path, fault: str) -> None:
    FAULTS[fault](cache / KEY)
    with pytest.raises(CacheError):
        compiled.read(cache, KEY)


def test_nothing_is_written_where_others_can_write(cache: Path) -> None:
    cache.chmod(0o777)
    with pytest.raises(CacheError, match="can be written by others than user"):
        compiled.write(cache, "b" * 64, PROGRAMS)
    assert [path.name for path in cache.iterdir()] == [KEY]


def test_where_nothing_can_be_written_it_is_said(cache: Path) -> None:
    with pytest.raises(CacheError, match=r"cannot write to .*: Not a directory"):
        compiled.write(cache / KEY / "cache", KEY, PROGRAMS)


def test_the_oldest_go_first(cache: Path) -> None:
    os.utime(cache / KEY, (1, 1))
    for number in range(KEPT):
        compiled.write(cache, f"{number:064}", PROGRAMS)
    assert {path.name for path in cache.iterdir()} == {f"{number:064}" for number in range(KEPT)}


def with_map(descriptor: int) -> bytes:
    """r1 = map; r2 = 1 << 32 | 24, whose bytes are those of such a load; r0 = XDP_PASS; exit"""
    number = bytes.fromhex("1802000018000000 0000000001000000")
    return bytes.fromhex("18110000") + descriptor.to_bytes(4, "little") + bytes(8) + number + PASS


def test_maps_are_found_by_name(rig: Rig) -> None:
    with compiled.pinned_maps(rig.pin_dir) as maps:
        program = compiled.from_instructions(with_map(maps["config"]), "GPL")
        assert program == Compiled(with_map(0), ((0, "config"),), "GPL")
        fd = program.load("with_map", maps)
        told = program_info(fd)
        os.close(fd)
        assert told.name == "with_map"
        with pytest.raises(CacheError, match="with_map uses a map config, which is not pinned"):
            program.load("with_map", {name: maps[name] for name in maps if name != "config"})


def test_what_is_no_map_is_not_kept() -> None:
    with pytest.raises(MapError, match="cannot ask what a map is"):
        compiled.from_instructions(with_map(0xFFFF), "GPL")


def test_the_verifier_judges_what_is_kept(rig: Rig) -> None:
    with pytest.raises(MapError, match="cannot load wild"):
        Compiled(WILD, (), "GPL").load("wild", {})


def test_pins_that_are_missing_are_no_maps(rig: Rig, tmp_path: Path) -> None:
    with compiled.pinned_maps(tmp_path) as maps:
        assert maps == {}

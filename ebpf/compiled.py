"""Programs that were compiled once, in files: what LLVM makes of the same text need not be made twice.

Instructions name a map by a descriptor of the process that compiled them. What is kept has the map's name
in its place, and who loads it puts in a descriptor of its own. To the kernel it is a program like any
other: the verifier goes through all of it, each time. Lines of the source are not kept; who wants to see
them compiles.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ebpf import pins
from ebpf.errors import CacheError, PinError
from ebpf.kernel.bpfmap import BpfMap, map_info
from ebpf.kernel.programs import load_xdp

FORMAT = "1"
"""Of the files. It belongs into every key."""
KEPT = 8
"""Files in a directory; those that were made longest ago go first."""
MAX_BYTES = 4 << 20
DIGEST_CHARS = 64
INSTRUCTION_BYTES = 8
_LD_IMM64, _MAP_FD = 0x18, 1
"""BPF_LD | BPF_DW | BPF_IMM and BPF_PSEUDO_MAP_FD of linux/bpf.h: the next 32 bits are a descriptor."""
_ITS_OWN, _OTHERS_WRITE = 0o700, stat.S_IWGRP | stat.S_IWOTH


@dataclass(frozen=True, slots=True)
class Compiled:
    """One program."""

    instructions: bytes
    """struct bpf_insn, eight bytes each; descriptors are 0."""
    maps: tuple[tuple[int, str], ...]
    """(instruction, map) of each that takes a map's descriptor."""
    license: str

    def load(self, name: str, fds: dict[str, int]) -> int:
        """Into the kernel, with these maps; a descriptor. Raises MapError where the kernel refuses it,
        CacheError where a map is missing.
        """
        bound = bytearray(self.instructions)
        for index, wanted in self.maps:
            if wanted not in fds:
                raise CacheError(f"{name} uses a map {wanted}, which is not pinned")
            _descriptor_of(bound, index)[:] = fds[wanted].to_bytes(4, "little")
        return load_xdp(name, bytes(bound), self.license)


def from_instructions(instructions: bytes, license: str) -> Compiled:  # noqa: A002 - as the kernel calls it
    """Of what this process has compiled and could load, while the maps' descriptors are open. Raises
    MapError.
    """
    unbound = bytearray(instructions)
    maps = []
    for index in range(len(unbound) // INSTRUCTION_BYTES):
        operation, registers = unbound[index * INSTRUCTION_BYTES :][:2]
        if operation == _LD_IMM64 and registers >> 4 == _MAP_FD:
            descriptor = _descriptor_of(unbound, index)
            maps.append((index, map_info(int.from_bytes(descriptor, "little")).name.decode()))
            descriptor[:] = bytes(4)
    return Compiled(bytes(unbound), tuple(maps), license)


def _descriptor_of(instructions: bytearray, index: int) -> memoryview:
    start = index * INSTRUCTION_BYTES + 4
    return memoryview(instructions)[start : start + 4]


@contextlib.contextmanager
def pinned_maps(pin_dir: Path) -> Iterator[dict[str, int]]:
    """Descriptors of the pinned maps, by name."""
    with contextlib.ExitStack() as stack:
        fds = {}
        for spec in pins.ALL:
            with contextlib.suppress(PinError):
                opened = BpfMap.open(spec, pin_dir / spec.name)
                stack.callback(opened.close)
                fds[spec.name] = opened.fd
        yield fds


def read(directory: Path, key: str) -> dict[str, Compiled] | None:
    """The programs that are kept under a key; None where there are none.

    Raises CacheError where somebody else could have written them, or not all of them are there.
    """
    try:
        with _opened(directory) as folder:
            file = os.open(key, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
            with os.fdopen(file, "rb") as opened:
                _check_is_ours(file, directory / key)
                content = opened.read(MAX_BYTES)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CacheError(f"cannot read {directory / key}: {error.strerror}") from None
    return _decoded(content, directory / key)


def write(directory: Path, key: str, programs: dict[str, Compiled]) -> None:
    """Keep programs under a key, in a directory that is made where it is missing. Raises CacheError."""
    try:
        directory.mkdir(mode=_ITS_OWN, parents=True, exist_ok=True)
        with _opened(directory), tempfile.NamedTemporaryFile(dir=directory, delete=False) as file:
            try:
                file.write(_encoded(programs))
                file.flush()
                Path(file.name).replace(directory / key)
            except BaseException:
                Path(file.name).unlink()
                raise
        _forget_oldest(directory)
    except OSError as error:
        raise CacheError(f"cannot write to {directory}: {error.strerror}") from None


def _forget_oldest(directory: Path) -> None:
    by_age = sorted(directory.iterdir(), key=lambda path: path.lstat().st_mtime_ns)
    for path in by_age[:-KEPT]:
        path.unlink()


@contextlib.contextmanager
def _opened(directory: Path) -> Iterator[int]:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        _check_is_ours(descriptor, directory)
        yield descriptor
    finally:
        os.close(descriptor)


def _check_is_ours(descriptor: int, path: Path) -> None:
    """Raises CacheError where others than this process's user could write it."""
    told = os.fstat(descriptor)
    if told.st_uid != os.geteuid() or told.st_mode & _OTHERS_WRITE:
        raise CacheError(f"{path} can be written by others than user {os.geteuid()}")


def _encoded(programs: dict[str, Compiled]) -> bytes:
    content = json.dumps(
        {
            name: {
                "instructions": base64.b64encode(program.instructions).decode(),
                "maps": program.maps,
                "license": program.license,
            }
            for name, program in programs.items()
        }
    ).encode()
    return hashlib.sha256(content).hexdigest().encode() + content


def _decoded(content: bytes, path: Path) -> dict[str, Compiled]:
    digest, programs = content[:DIGEST_CHARS], content[DIGEST_CHARS:]
    if hashlib.sha256(programs).hexdigest().encode() != digest:
        raise CacheError(f"{path} is damaged")
    return {
        name: Compiled(
            base64.b64decode(program["instructions"]),
            tuple((index, wanted) for index, wanted in program["maps"]),
            program["license"],
        )
        for name, program in json.loads(programs).items()
    }

"""Loading a program that is compiled, and what the kernel says of a loaded one."""

from __future__ import annotations

import ctypes
from ctypes import c_uint8, c_uint32, c_uint64
from typing import NamedTuple

from ebpf.kernel.libbpf import check, library

_PROG_TYPE_XDP = 6
"""BPF_PROG_TYPE_XDP of linux/bpf.h."""
_INSTRUCTION_BYTES = 8


class _ProgramInfo(ctypes.Structure):
    """The head of struct bpf_prog_info."""

    id: int
    tag: ctypes.Array[c_uint8]
    name: bytes
    _fields_ = (
        ("type", c_uint32),
        ("id", c_uint32),
        ("tag", c_uint8 * 8),
        ("jited_prog_len", c_uint32),
        ("xlated_prog_len", c_uint32),
        ("jited_prog_insns", c_uint64),
        ("xlated_prog_insns", c_uint64),
        ("load_time", c_uint64),
        ("created_by_uid", c_uint32),
        ("nr_map_ids", c_uint32),
        ("map_ids", c_uint64),
        ("name", ctypes.c_char * 16),
    )


class ProgramInfo(NamedTuple):
    """A program in the kernel."""

    id: int
    name: str
    """The first 15 characters."""
    tag: str
    """The kernel's hash of the instructions, whatever maps they use; in hexadecimal."""


def program_info(fd: int) -> ProgramInfo:
    """Raises MapError."""
    info = _ProgramInfo()
    size = c_uint32(ctypes.sizeof(info))
    result = library().bpf_obj_get_info_by_fd(fd, ctypes.byref(info), ctypes.byref(size))
    check(result, "ask what a program is")
    return ProgramInfo(info.id, info.name.decode(errors="replace"), bytes(info.tag).hex())


def open_program(program_id: int) -> int:
    """A descriptor of the program with that id. Raises MapError; the kernel wants CAP_SYS_ADMIN for it."""
    return check(library().bpf_prog_get_fd_by_id(program_id), f"open program {program_id}")


def load_xdp(name: str, instructions: bytes, license: str) -> int:  # noqa: A002 - as the kernel calls it
    """A descriptor of a new program of these instructions (struct bpf_insn). Raises MapError."""
    count = len(instructions) // _INSTRUCTION_BYTES
    lib = library()
    result = lib.bpf_prog_load(_PROG_TYPE_XDP, name.encode(), license.encode(), instructions, count, None)
    return check(result, f"load {name}")

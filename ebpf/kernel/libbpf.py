"""The few functions of libbpf that we call, by ctypes: no BCC, no LLVM in the processes that run.

libbpf 1.x returns a negative errno; `check` turns it into an exception of ours.
"""

from __future__ import annotations

import ctypes
import os
from ctypes import POINTER, c_char_p, c_int, c_size_t, c_uint32, c_uint64, c_void_p
from enum import IntEnum
from functools import cache

from ebpf.errors import DataplaneError, MapError

SONAME = "libbpf.so.1"


class MapKind(IntEnum):
    """enum bpf_map_type of linux/bpf.h, those that we use."""

    HASH = 1
    ARRAY = 2
    PERCPU_ARRAY = 6
    LRU_HASH = 9
    DEVMAP = 14


F_RDONLY_PROG = 1 << 7
F_MMAPABLE = 1 << 10
ANY, NOEXIST, EXIST = 0, 1, 2


class MapInfo(ctypes.Structure):
    """The head of struct bpf_map_info."""

    type: int
    id: int
    key_size: int
    value_size: int
    max_entries: int
    map_flags: int
    name: bytes
    _fields_ = (
        ("type", c_uint32),
        ("id", c_uint32),
        ("key_size", c_uint32),
        ("value_size", c_uint32),
        ("max_entries", c_uint32),
        ("map_flags", c_uint32),
        ("name", ctypes.c_char * 16),
    )


class MapCreateOptions(ctypes.Structure):
    """The head of struct bpf_map_create_opts."""

    _fields_ = (
        ("sz", c_size_t),
        ("btf_fd", c_uint32),
        ("btf_key_type_id", c_uint32),
        ("btf_value_type_id", c_uint32),
        ("btf_vmlinux_value_type_id", c_uint32),
        ("inner_map_fd", c_uint32),
        ("map_flags", c_uint32),
    )


class BatchOptions(ctypes.Structure):
    """struct bpf_map_batch_opts."""

    _fields_ = (("sz", c_size_t), ("elem_flags", c_uint64), ("flags", c_uint64))


class TestRunOptions(ctypes.Structure):
    """struct bpf_test_run_opts."""

    data_size_out: int
    retval: int
    duration: int
    _fields_ = (
        ("sz", c_size_t),
        ("data_in", c_void_p),
        ("data_out", c_void_p),
        ("data_size_in", c_uint32),
        ("data_size_out", c_uint32),
        ("ctx_in", c_void_p),
        ("ctx_out", c_void_p),
        ("ctx_size_in", c_uint32),
        ("ctx_size_out", c_uint32),
        ("retval", c_uint32),
        ("repeat", c_int),
        ("duration", c_uint32),
        ("flags", c_uint32),
        ("cpu", c_uint32),
        ("batch_size", c_uint32),
    )


_PROTOTYPES: dict[str, tuple[object, ...]] = {
    "bpf_obj_get": (c_char_p,),
    "bpf_obj_pin": (c_int, c_char_p),
    "bpf_prog_load": (c_uint32, c_char_p, c_char_p, c_char_p, c_size_t, c_void_p),
    "bpf_prog_get_fd_by_id": (c_uint32,),
    "bpf_obj_get_info_by_fd": (c_int, c_void_p, POINTER(c_uint32)),
    "bpf_map_create": (c_uint32, c_char_p, c_uint32, c_uint32, c_uint32, c_void_p),
    "bpf_map_lookup_elem": (c_int, c_void_p, c_void_p),
    "bpf_map_update_elem": (c_int, c_void_p, c_void_p, c_uint64),
    "bpf_map_delete_elem": (c_int, c_void_p),
    "bpf_map_lookup_batch": (c_int, c_void_p, c_void_p, c_void_p, c_void_p, c_void_p, c_void_p),
    "bpf_prog_test_run_opts": (c_int, c_void_p),
    "libbpf_num_possible_cpus": (),
}


@cache
def library() -> ctypes.CDLL:
    """The library with its prototypes set. Raises DataplaneError where it is not installed."""
    try:
        lib = ctypes.CDLL(SONAME, use_errno=True)
    except OSError:
        raise DataplaneError(
            f"{SONAME} is missing: install the package libbpf1, or set relay.forwarder = 'userspace'"
        ) from None
    for name, arguments in _PROTOTYPES.items():
        function = getattr(lib, name)
        function.argtypes = arguments
        function.restype = c_int
    return lib


def check(result: int, doing: str) -> int:
    """The result of a call, or MapError. `doing` completes "cannot …"."""
    if result < 0:
        raise MapError(f"cannot {doing}: {os.strerror(-result)}", -result)
    return result


@cache
def possible_cpus() -> int:
    """How many values a per-CPU map has for each key."""
    return check(library().libbpf_num_possible_cpus(), "count the CPUs")

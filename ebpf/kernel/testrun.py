"""Running a loaded program on one packet, without an interface (BPF_PROG_TEST_RUN)."""

from __future__ import annotations

import ctypes
from enum import IntEnum
from typing import NamedTuple

from ebpf.kernel.libbpf import TestRunOptions, check, library

HEADROOM_OUT = 64
"""By how much a program may lengthen a packet, tags for example."""


class XdpAction(IntEnum):
    """enum xdp_action of linux/bpf.h."""

    ABORTED = 0
    DROP = 1
    PASS = 2
    TX = 3
    REDIRECT = 4


class TestRun(NamedTuple):
    """What became of the packet."""

    action: XdpAction
    frame: bytes
    ns_per_run: int
    """Average over `repeat`, as the kernel measured it."""


def run(program_fd: int, frame: bytes, repeat: int = 1) -> TestRun:
    """Run an XDP program. `frame` starts with its Ethernet header and has at least its 14 bytes.

    With `repeat` the program sees what it left of the packet the time before. Raises MapError.
    """
    data_out = ctypes.create_string_buffer(len(frame) + HEADROOM_OUT)
    options = _run(program_fd, frame, data_out, repeat)
    return TestRun(XdpAction(options.retval), data_out.raw[: options.data_size_out], options.duration)


def returned(program_fd: int, frame: bytes) -> int:
    """The plain result of a program whose result is no action. Raises MapError."""
    return _run(program_fd, frame, ctypes.create_string_buffer(len(frame)), 1).retval


def _run(program_fd: int, frame: bytes, data_out: ctypes.Array[ctypes.c_char], repeat: int) -> TestRunOptions:
    data_in = ctypes.create_string_buffer(frame, len(frame))
    options = TestRunOptions(
        sz=ctypes.sizeof(TestRunOptions),
        data_in=ctypes.addressof(data_in),
        data_size_in=len(frame),
        data_out=ctypes.addressof(data_out),
        data_size_out=len(data_out),
        repeat=repeat,
    )
    result = library().bpf_prog_test_run_opts(program_fd, ctypes.byref(options))
    check(result, f"test-run the program on {len(frame)} bytes")
    return options

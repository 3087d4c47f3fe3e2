"""libbpf as it is called, and its errors."""

from __future__ import annotations

import ctypes
import errno
from pathlib import Path

import pytest

from ebpf.errors import DataplaneError, MapError
from ebpf.kernel import libbpf


def test_a_negative_result_is_an_error_that_says_what_and_why() -> None:
    assert libbpf.check(0, "rest") == 0
    assert libbpf.check(7, "rest") == 7
    with pytest.raises(MapError, match=r"^cannot rest: Operation not permitted$") as caught:
        libbpf.check(-errno.EPERM, "rest")
    assert caught.value.errno == errno.EPERM


def test_a_refusal_of_the_kernel_is_the_result() -> None:
    result = libbpf.library().bpf_obj_get(b"/proc/no such thing")
    assert result < 0
    with pytest.raises(MapError, match="cannot open it"):
        libbpf.check(result, "open it")


def test_every_function_that_we_call_is_there() -> None:
    opened = libbpf.library()
    for name, arguments in libbpf._PROTOTYPES.items():
        function = getattr(opened, name)
        assert tuple(function.argtypes) == arguments
        assert function.restype is ctypes.c_int


def test_cpus_are_those_that_the_kernel_counts() -> None:
    ranges = Path("/sys/devices/system/cpu/possible").read_text().strip().split(",")
    bounds = [(part.partition("-")[0], part.rpartition("-")[2]) for part in ranges]
    assert libbpf.possible_cpus() == sum(int(last) - int(first) + 1 for first, last in bounds)


def test_without_the_library_the_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    libbpf.library.cache_clear()
    monkeypatch.setattr(libbpf, "SONAME", "libbpf.so.99")
    try:
        with pytest.raises(DataplaneError, match=r"libbpf\.so\.99 is missing: install the package libbpf1"):
            libbpf.library()
    finally:
        libbpf.library.cache_clear()

"""Mounts of BPF file systems."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ebpf import pins
from ebpf.errors import PinError
from ebpf.kernel import bpffs

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: mounts")


def is_mounted(directory: Path) -> bool:
    return f" {directory} " in Path("/proc/mounts").read_text()


def test_mounted_and_gone_however_often_it_was_mounted(tmp_path: Path) -> None:
    assert not pins.is_bpffs(tmp_path)
    bpffs.mount(tmp_path)
    bpffs.mount(tmp_path)
    try:
        assert pins.is_bpffs(tmp_path)
        assert is_mounted(tmp_path)
    finally:
        bpffs.unmount(tmp_path)
    assert not is_mounted(tmp_path)
    bpffs.unmount(tmp_path)  # once more is no fault


def test_one_in_use_goes_as_well(tmp_path: Path) -> None:
    bpffs.mount(tmp_path)
    held = os.open(tmp_path, os.O_RDONLY)
    try:
        bpffs.unmount(tmp_path)
        assert not is_mounted(tmp_path)
    finally:
        os.close(held)


def test_what_is_no_directory_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(PinError, match=f"cannot mount a BPF file system at {tmp_path}/none: No such file"):
        bpffs.mount(tmp_path / "none")
    bpffs.unmount(tmp_path / "none")  # nothing is mounted there, as wanted

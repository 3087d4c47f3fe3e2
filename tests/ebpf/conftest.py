"""A fast path of the tests' own: its own bpffs, maps and programs, attached to nothing."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ebpf import pins
from tests.ebpf.rig import SIZES, Rig
from tests.paths import programs


@pytest.fixture(scope="session")
def bpffs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A mounted BPF file system."""
    if os.geteuid() != 0:
        pytest.skip("needs root: loads BPF programs")
    path = tmp_path_factory.mktemp("bpffs")
    subprocess.run(["mount", "-t", "bpf", "voxpop-test", str(path)], check=True)
    yield path
    subprocess.run(["umount", str(path)], check=True)


@pytest.fixture(scope="session")
def loaded_rig(bpffs: Path) -> Iterator[Rig]:
    """Loaded once; use `rig`."""
    directory = pins.pin_dir(bpffs)
    pins.ensure_maps(directory, SIZES)
    rig = Rig(directory, programs(bpffs))
    yield rig
    rig.close()
    pins.unpin(directory)


@pytest.fixture
def rig(loaded_rig: Rig) -> Rig:
    """The programs with the addresses, keys and next hops of rig.py, and no flow."""
    loaded_rig.reset()
    return loaded_rig

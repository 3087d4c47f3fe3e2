"""Pinned maps of the tests' own and a forwarder over them; a PoP in network namespaces; a store."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ebpf import loader, pins
from ebpf.kernel import bpffs
from tests.edge.fastpath.rig import (
    MAX_FLOWS,
    Rig,
)
from tests.edge.xdp_scene import Pop, Scene, running
from tests.paths import programs
from tests.redis_server import Server
from tests.redis_server import running as redis_running


@pytest.fixture(scope="session")
def pin_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("needs root: makes BPF maps")
    root = tmp_path_factory.mktemp("bpf")
    bpffs.mount(root)
    directory = root / "v1"
    pins.ensure_maps(directory, pins.Sizes(MAX_FLOWS, MAX_FLOWS, 1, 1, 64))
    loaded = loader.load_kept(directory, programs(root))
    loader.pin(loaded, directory)
    loaded.close()
    yield directory
    bpffs.unmount(root)


@pytest.fixture
def rig(pin_dir: Path) -> Iterator[Rig]:
    first = Rig(pin_dir)
    first.wipe()
    first.close()
    made = Rig(pin_dir)
    yield made
    made.close()


@pytest.fixture
def pop(tmp_path: Path) -> Iterator[Pop]:
    with running(tmp_path) as started:
        yield started


@pytest.fixture
def stopped(tmp_path: Path) -> Iterator[Pop]:
    """Nothing loaded."""
    with Scene(tmp_path) as scene, Pop(scene) as pop:
        yield pop


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Server]:
    """By TCP, and by a Unix socket, which namespaces of networks do not part."""
    with redis_running(Server(tmp_path / "redis")) as server:
        yield server

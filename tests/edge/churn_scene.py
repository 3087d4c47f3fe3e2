"""A fast path whose flows churner.py begins and ends, and packets for them by the million."""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
import sys
from collections.abc import Iterator
from ctypes import c_uint32, c_uint64
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np

from core.addr import IpFamily
from ebpf import layout, loader, pins
from ebpf.ids import BackboneIndex, EgressId
from ebpf.kernel import bpffs
from ebpf.kernel.bpfmap import BpfMap, MapSpec
from ebpf.kernel.libbpf import F_MMAPABLE, MapKind
from ebpf.kernel.testrun import XdpAction
from ebpf.kernel.testrun import run as test_run
from ebpf.tables import Adjacency, LocalAddress, Tables
from tests.builders import UdpFrame, ones_sum
from tests.edge.churner import (
    BACKBONES,
    CLIENTS,
    FIRST_PORT,
    GROUPS,
    LAST_PORT,
    ROUTE_UP,
    VIPS,
    client_of,
)
from tests.edge.kit import PATIENCE_S, REPOSITORY

HARNESS = Path(__file__).with_name("churn_harness.c")
PROGRAMS = {IpFamily.V4: "churn4", IpFamily.V6: "churn6"}
LOOPBACK = 1
EGRESS, BACKBONE = EgressId(0), BackboneIndex(0)
BATCH = 500_000
RTP = bytes.fromhex("806f1234000003c0deadbeef") + bytes(20)


class Churn(ctypes.Structure):
    """struct churn of the harness."""

    _fields_ = (
        ("seed", c_uint64),
        ("right", c_uint64 * 2),
        ("absent", c_uint64 * 2),
        ("wrong", c_uint64 * 2),
        ("payload_sum", c_uint32),
        ("wrong_number", c_uint32),
        ("wrong_host", c_uint32),
        ("wrong_port", c_uint32),
    )


STATE = MapSpec("churn", MapKind.ARRAY, c_uint32, Churn, 1, F_MMAPABLE)
PORTS = MapSpec("churn_ports", MapKind.ARRAY, c_uint32, c_uint32, 2 * CLIENTS)
OWNERS = MapSpec("churn_owners", MapKind.ARRAY, c_uint32, c_uint32, 2 * (LAST_PORT - FIRST_PORT + 1))


class Outcome(NamedTuple):
    """Packets by direction, upstream first."""

    right: tuple[int, int]
    """Forwarded to where they have to go, with valid checksums."""
    absent: tuple[int, int]
    """Dropped or passed up, as there was no such flow at that moment."""
    wrong: tuple[int, int]
    """Forwarded to elsewhere, or damaged."""
    last_wrong: str


@contextlib.contextmanager
def fast_path(root: Path) -> Iterator[Path]:
    """Pinned maps with the addresses of churner.py and no flow, in a bpffs mounted at `root`."""
    bpffs.mount(root)
    try:
        directory = root / "v1"
        pins.ensure_maps(directory, pins.Sizes(CLIENTS, CLIENTS, 1, 1, 64))
        tables = Tables(directory)
        tables.config["index_groups"] = GROUPS
        tables.set_nexthop(ROUTE_UP, Adjacency(b"router", b"ourown", 1500, EGRESS))
        tables.set_egress(EGRESS, LOOPBACK)
        for version, vip in VIPS.items():
            tables.set_vip(vip.id, vip.endpoint)
            tables.set_backbone(BACKBONE, BACKBONES[version][BACKBONE])
        nat_ports = (FIRST_PORT, LAST_PORT)
        tables.set_locals([
            *(LocalAddress(vip.endpoint.host, {vip.endpoint.port: vip.id}) for vip in VIPS.values()),
            *(
                LocalAddress(hosts[BACKBONE], backbone=BACKBONE, nat_ports=nat_ports)
                for hosts in BACKBONES.values()
            ),
        ])  # fmt: skip
        tables.close()
        yield directory
    finally:
        bpffs.unmount(root)


class Traffic:
    """The harness, loaded over the maps of `fast_path`, with the programs that the relay needs."""

    def __init__(self, pin_dir: Path) -> None:
        maps = [BpfMap.create(spec, spec.max_entries or 0) for spec in (STATE, PORTS, OWNERS)]
        for each in maps:
            each.pin(pin_dir / each.spec.name)
        self._state: np.void = maps[0].view(writable=True)[0]
        for each in maps:
            each.close()
        self._state["seed"] = 1
        self._state["payload_sum"] = int.from_bytes(ones_sum(RTP).to_bytes(2, "big"), "little")
        names = (*loader.Program, *PROGRAMS.values())
        self._loaded = loader.load(pin_dir, extra=HARNESS.read_text(), names=names)
        for name in loader.Program:
            pins.pin_program(self._loaded.fds[name], pin_dir / name)

    def send_until(self, forwarded: int) -> Outcome:
        """Send, in both families by turns, until so many packets were forwarded to the right address."""
        outcome = self.send_batches()
        while sum(outcome.right) < forwarded:
            before, outcome = outcome, self.send_batches()
            assert sum(outcome.right) > sum(before.right), "flows are there"
        return outcome

    def send_batches(self) -> Outcome:
        """BATCH packets of each family; what became of all since the beginning."""
        for version, program in PROGRAMS.items():
            frame = bytes(UdpFrame(client_of(0, version), VIPS[version].endpoint, RTP))
            ran = test_run(self._loaded.fds[program], frame, BATCH)
            assert ran.action is XdpAction.TX, "the harness looked at the packet"
        return self._outcome()

    def _outcome(self) -> Outcome:
        right, absent, wrong = (
            (int(self._state[name][layout.UPSTREAM]), int(self._state[name][layout.DOWNSTREAM]))
            for name in ("right", "absent", "wrong")
        )
        number, host, port = (int(self._state[f"wrong_{name}"]) for name in ("number", "host", "port"))
        return Outcome(right, absent, wrong, f"flow {number} to host …{host:08x}, port {port}")

    def close(self) -> None:
        self._loaded.close()


class Churner:
    """A process that changes flows, on a CPU of its own if there are two: `with Churner(…):`."""

    changes = 0
    """How many flows began, or entries were put back; known at the end."""

    def __init__(self, module: str, pin_dir: Path) -> None:
        """`module`: "churner" for a relay's forwarder, "entry_churner"."""
        self._command = [sys.executable, "-m", f"tests.edge.{module}", str(pin_dir)]
        self._cpus = os.sched_getaffinity(0)

    def __enter__(self) -> Self:
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(self._command, cwd=REPOSITORY, stdin=pipe, stdout=pipe, text=True)
        assert self._process.stdout is not None
        if self._process.stdout.readline() != "churning\n":
            self._process.communicate()
            raise AssertionError("the churner did not start")
        os.sched_setaffinity(self._process.pid, {min(self._cpus)})
        os.sched_setaffinity(0, {max(self._cpus)})
        return self

    def __exit__(self, *exception: object) -> None:
        os.sched_setaffinity(0, self._cpus)
        try:
            told, _ = self._process.communicate("\n", timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
            raise
        assert self._process.returncode == 0
        self.changes = int(told)

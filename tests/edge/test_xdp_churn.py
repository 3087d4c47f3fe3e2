"""Packets while flows begin and end: each is sent by its own flow's record, or not at all."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from ctypes import c_uint32
from pathlib import Path

import pytest

from core.addr import Endpoint
from ebpf import bpffs, layout, loader, pins
from ebpf.flows import pack_address
from ebpf.tables import LocalAddress, Tables, WayOut
from ebpf.testrun import XdpAction, run
from edge.dataplane import BACKBONE
from tests.builders import UdpFrame, check_sums
from tests.edge.churner import (
    BACKBONES,
    CLIENTS,
    FIRST_PORT,
    LAST_PORT,
    ROUTE_UP,
    VIPS,
    client_of,
    transceiver_of,
)
from tests.edge.kit import PATIENCE_S, REPOSITORY

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: loads BPF programs"),
]

SECONDS = 6.0
LOOPBACK = 1
RTP = bytes.fromhex("806f1234000003c0deadbeef") + bytes(20)


@pytest.fixture
def pin_dir(tmp_path: Path) -> Iterator[Path]:
    bpffs.mount(tmp_path)
    directory = tmp_path / "v1"
    pins.ensure_maps(directory, pins.Sizes(CLIENTS, CLIENTS, 1, 1, 64))
    loaded = loader.load(directory)
    loader.pin(loaded, directory)
    loaded.close()
    tables = Tables(directory)
    tables.set_nexthop(ROUTE_UP, WayOut(b"router", b"ourown", 1500, 0))
    tables.egresses.update(c_uint32(0), c_uint32(LOOPBACK))
    for version, vip in VIPS.items():
        tables.set_vip(vip.id, vip.endpoint)
        tables.set_backbone(0, BACKBONES[version][0])
    nat_ports = (FIRST_PORT, LAST_PORT)
    tables.set_locals([
        *(LocalAddress(vip.endpoint.host, {vip.endpoint.port: vip.id}) for vip in VIPS.values()),
        *(LocalAddress(hosts[0], backbone=0, nat_ports=nat_ports) for hosts in BACKBONES.values()),
    ])  # fmt: skip
    tables.close()
    yield directory
    bpffs.unmount(tmp_path)


def ends_of(frame: bytes, version: int) -> tuple[bytes, int, int]:
    """(destination address, source port, destination port)"""
    at, size = (30, 4) if version == 4 else (38, 16)
    ports = frame[at + size : at + size + 4]
    return frame[at : at + size], int.from_bytes(ports[:2], "big"), int.from_bytes(ports[2:], "big")


def packed(endpoint: Endpoint) -> tuple[bytes, int]:
    return pack_address(endpoint.host), endpoint.port


def test_no_packet_goes_by_another_flows_record(pin_dir: Path) -> None:
    fd = pins.open_pinned_program(pin_dir, BACKBONE)
    frames = {
        (version, number): bytes(UdpFrame(client_of(number, version), VIPS[version].endpoint, RTP))
        for version in (4, 6)
        for number in range(CLIENTS)
    }
    churner = subprocess.Popen(
        [sys.executable, "-m", "tests.edge.churner", str(pin_dir)],
        cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert churner.stdout is not None
    assert churner.stdout.readline() == "churning\n"
    sent = {"up": 0, "down": 0}
    drawn = random.Random(1)
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        for _ in range(500):
            version, number = drawn.choice((4, 6)), drawn.randrange(CLIENTS)
            up = run(fd, frames[version, number])
            if up.action is not XdpAction.REDIRECT:
                continue
            sent["up"] += 1
            host, nat_port, port = ends_of(up.frame, version)
            assert (host, port) == packed(transceiver_of(number, version))
            check_sums(up.frame)
            back = UdpFrame(transceiver_of(number, version), Endpoint(BACKBONES[version][0], nat_port), RTP)
            down = run(fd, bytes(back))
            if down.action is XdpAction.REDIRECT:
                sent["down"] += 1
                host, _, port = ends_of(down.frame, version)
                assert (host, port) == packed(client_of(number, version))
                check_sums(down.frame)
    os.close(fd)
    told, _ = churner.communicate("\n", timeout=PATIENCE_S)
    begun = int(told)
    assert churner.returncode == 0
    assert begun > 10 * CLIENTS, "there was churn"
    assert min(sent.values()) > 10 * CLIENTS, "there was traffic"
    tables = Tables(pin_dir)
    for version in (4, 6):
        assert int((tables.slots[version]["flow"]["state"] == layout.SLOT_LIVE).sum()) <= CLIENTS
    tables.close()

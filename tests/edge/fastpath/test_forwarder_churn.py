"""Packets while flows begin and end: each is sent by its own flow's record, or not at all."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.addr import Endpoint, IpFamily, pack_address
from ebpf import loader, pins
from ebpf.flows import FlowRecord
from ebpf.ids import BackboneIndex, NatSlot, TransceiverId
from ebpf.index import Index
from ebpf.kernel.testrun import XdpAction, run
from ebpf.tables import Tables
from edge.host.dataplane import BACKBONE
from tests.builders import UdpFrame, check_sums
from tests.edge.churn_scene import RTP, Churner, Traffic, fast_path
from tests.edge.churner import (
    BACKBONES,
    CLIENTS,
    FIRST_PORT,
    ROUTE_UP,
    VIPS,
    client_of,
    transceiver_of,
)
from tests.paths import programs

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: loads BPF programs"),
]

V4 = IpFamily.V4
SECONDS = 3.0
FORWARDED = 20_000_000


@pytest.fixture
def pin_dir(tmp_path: Path) -> Iterator[Path]:
    with fast_path(tmp_path) as directory:
        yield directory


def ends_of(frame: bytes, version: IpFamily) -> tuple[bytes, int, int]:
    """(destination address, source port, destination port)"""
    at, size = (30, 4) if version is V4 else (38, 16)
    ports = frame[at + size : at + size + 4]
    return frame[at : at + size], int.from_bytes(ports[:2], "big"), int.from_bytes(ports[2:], "big")


def packed(endpoint: Endpoint) -> tuple[bytes, int]:
    return pack_address(endpoint.host), endpoint.port


def test_no_packet_goes_by_another_flows_record(pin_dir: Path) -> None:
    """Each packet looked at from here: slowly, but with nothing in between that could be wrong."""
    loaded = loader.load_kept(pin_dir, programs(pin_dir.parent))
    loader.pin(loaded, pin_dir)
    loaded.close()
    fd = pins.open_pinned_program(pin_dir, BACKBONE)
    frames = {
        (version, number): bytes(UdpFrame(client_of(number, version), VIPS[version].endpoint, RTP))
        for version in IpFamily
        for number in range(CLIENTS)
    }
    sent = {"up": 0, "down": 0}
    drawn = random.Random(1)
    with Churner("churner", pin_dir) as churner:
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            for _ in range(500):
                version, number = drawn.choice((*IpFamily,)), drawn.randrange(CLIENTS)
                up = run(fd, frames[version, number])
                if up.action is not XdpAction.REDIRECT:
                    continue
                sent["up"] += 1
                host, nat_port, port = ends_of(up.frame, version)
                assert (host, port) == packed(transceiver_of(number, version))
                check_sums(up.frame)
                nat = Endpoint(BACKBONES[version][BackboneIndex(0)], nat_port)
                down = run(fd, bytes(UdpFrame(transceiver_of(number, version), nat, RTP)))
                if down.action is XdpAction.REDIRECT:
                    sent["down"] += 1
                    host, _, port = ends_of(down.frame, version)
                    assert (host, port) == packed(client_of(number, version))
                    check_sums(down.frame)
    os.close(fd)
    assert churner.changes > 10 * CLIENTS, "there was churn"
    assert min(sent.values()) > 10 * CLIENTS, "there was traffic"
    tables = Tables(pin_dir)
    for version in IpFamily:
        assert len(tables.live(version)) <= CLIENTS
    tables.close()


@pytest.mark.parametrize("module", ["churner", "entry_churner"])
def test_none_of_millions_goes_astray(pin_dir: Path, module: str) -> None:
    """Flows that a relay makes and ends, and entries that change hands much faster than that. The program
    without its comparison of records fails the latter. `make bench ONLY=churn` sends 100 million each.
    """
    traffic = Traffic(pin_dir)
    with Churner(module, pin_dir) as churner:
        outcome = traffic.send_until(FORWARDED)
    traffic.close()
    assert outcome.wrong == (0, 0), outcome
    assert min(outcome.right) > FORWARDED // 5, "in both directions"
    assert min(outcome.absent) > 0, "packets met flows that had ended"
    assert churner.changes > 10 * CLIENTS, "there was churn"


def test_a_wrong_address_is_noticed(pin_dir: Path) -> None:
    """One record gives client 0 the transceiver of client 1, and one sends the answers amiss."""
    traffic, tables = Traffic(pin_dir), Tables(pin_dir)
    vip = VIPS[V4]
    for number, (client, transceiver) in enumerate([(0, 1), (1, 0)], FIRST_PORT):
        slot, transceiver_id = NatSlot(number), TransceiverId(number)
        ends = client_of(client, V4), transceiver_of(transceiver, V4)
        tables.set_transceiver(transceiver_id, ends[1], ROUTE_UP)
        tables.write_slot(FlowRecord(slot, ends[0], vip.id, ends[1], transceiver_id, ROUTE_UP))
    index = Index(pin_dir)
    index.link(V4, NatSlot(FIRST_PORT))
    index.close()
    outcome = traffic.send_batches()
    tables.close()
    traffic.close()
    assert min(outcome.wrong) > 0, "in both directions"
    assert outcome.right == (0, 0)

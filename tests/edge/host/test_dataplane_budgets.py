"""Many clients behind one address, such as that of a carrier's NAT, under the default budgets."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from ebpf.net import netns
from tests.edge.kit import eventually, mint_ufrag, request
from tests.edge.xdp_scene import CLIENTS, VIPS, running

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes network namespaces"),
]

CALLERS = 4000


def test_thousands_of_clients_of_one_address_arrive_at_once(tmp_path: Path) -> None:
    checks = [request(mint_ufrag(40000, host=1)) for _ in range(CALLERS)]
    with running(tmp_path, max_flows=5000) as pop:
        with netns.inside(pop.scene.client):
            for number, check in enumerate(checks):
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as caller:
                    caller.bind((CLIENTS[0], 20000 + number))
                    caller.sendto(check, VIPS[0])
        punted = ("fastpath_packets_total", "ipv4", "punt_token")
        eventually(lambda: pop.samples()[punted] >= CALLERS, "the relay gets them all")
        samples = pop.samples()
        assert samples["fastpath_packets_total", "ipv4", "drop_source_budget"] == 0
        assert samples["fastpath_packets_total", "ipv4", "drop_total_budget"] == 0

"""`voxpop stats` and `voxpop flows` at a PoP whose relay is down."""

from __future__ import annotations

import json
import os

import pytest

from ebpf.verdict import FAMILIES, REASONS
from edge.ops.flows import FLOW_COLUMNS
from tests.edge.xdp_scene import VIPS, Call, Pop

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes network namespaces"),
]


def test_stats_and_flows_without_a_relay(pop: Pop) -> None:
    calls = [Call(pop, 0).begin(), Call(pop, 1).begin()]
    for call in calls:
        call.exchange(7)
    pop.kill()
    lines = pop.succeed("stats").splitlines()
    assert lines[0].split() == ["VERDICT", "FAMILY", "PACKETS", "BYTES"]
    assert ["forward_upstream", "ipv6", "7"] in [line.split()[:3] for line in lines]
    counters = json.loads(pop.succeed("stats", "--json"))["counters"]
    assert len(counters) == len(REASONS) * len(FAMILIES)
    listed = pop.succeed("flows", "list", "--client", "203.0.113.0/24", "--idle", "<1h").splitlines()
    assert listed[0].split() == list(FLOW_COLUMNS)
    (row,) = [line.split() for line in listed[1:]]
    first = calls[0]
    assert row[:4] == [
        str(a) for a in (first.client.address, first.vip, first.transceiver.address, first.nat)
    ]
    assert row[FLOW_COLUMNS.index("PKTS↑")] == "7"
    for arguments, number in (
        ((), 2), (("--vip", str(VIPS[1])), 1), (("--vip", "198.51.100.1:9"), 0), (("--idle", ">1h"), 0),
        (("--transceiver", "2001:db8:20::/64"), 1), (("--client", str(first.client.address)), 1),
    ):  # fmt: skip
        assert pop.succeed("flows", "count", *arguments).strip() == str(number), arguments
    limited = pop.run("flows", "list", "--limit", "1", "-H")
    assert len(limited.stdout.splitlines()) == 1
    assert "1 more flows match; --limit 0 shows all" in limited.stderr

"""What /healthz and /readyz of a relay say."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from core.addr import Endpoint
from core.service.supervisor import Supervisor, WorkerSpec
from edge.metrics.status import HostStatus
from edge.relay import counters

VIP = Endpoint("2001:db8::7", 3478)


@pytest.fixture
def status() -> Iterator[HostStatus]:
    pairs = [counters.create() for _ in range(2)]
    specs = [WorkerSpec(f"relay-{index}", ["true"]) for index in range(2)]
    yield HostStatus("here", "userspace", (VIP,), [8, 7], [c for c, _ in pairs], [], Supervisor(specs))
    for shared, fd in pairs:
        shared.close()
        os.close(fd)


def test_a_summary_is_plain_and_adds_workers_up(status: HostStatus) -> None:
    for shared, flows in zip(status.counters, (3, 4), strict=True):
        shared.add(counters.counter_index("flows"), flows)
    assert status.summary(0) == {
        "pop": "here",
        "forwarder": "userspace",
        "state": "starting",
        "workers": 0,
        "flows": 7,
        "capacity": 15,
        "vips": ["[2001:db8::7]:3478"],
    }


def test_why_there_is_no_fast_path_is_said_where_there_is_none(status: HostStatus) -> None:
    status.why_not_xdp = "no right to use the fast path"
    assert status.summary(0)["why_not_xdp"] == "no right to use the fast path"
    assert "interfaces" not in status.summary(0)

"""edge.metrics.relay: what a scrape reads, before and after a worker has counted."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families

from core.addr import Endpoint
from core.service.supervisor import Supervisor, WorkerSpec
from edge.host.sockets import open_vips
from edge.metrics.relay import render
from edge.metrics.status import HostStatus
from edge.relay import counters
from edge.relay.counters import counter_index
from edge.relay.verdict import REFUSALS
from tests.edge.host.test_sockets import vip


@pytest.fixture
def status() -> Iterator[HostStatus]:
    at = vip("127.0.0.5")
    sockets = open_vips([at], workers=2)
    pairs = [counters.create() for _ in range(2)]
    specs = [WorkerSpec(f"relay-{index}", ["true"]) for index in range(2)]
    yield HostStatus("here", "userspace", (at,), [8, 7], [c for c, _ in pairs], sockets, Supervisor(specs))
    for shared, fd in pairs:
        shared.close()
        os.close(fd)
    for group in sockets:
        group[0].close()


def samples(status: HostStatus) -> dict[tuple[str, ...], float]:
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(render(status, 0).decode())
        for sample in family.samples
    }


def test_all_series_exist_from_the_first_scrape(status: HostStatus) -> None:
    read = samples(status)
    assert all(read["voxpop_relay_refusals_total", str(reason)] == 0 for reason in REFUSALS)
    assert read["voxpop_relay_first_packet_seconds_count",] == 0
    assert read["voxpop_relay_flow_capacity", "0"] == 8
    assert read["voxpop_relay_flow_capacity", "1"] == 7
    assert all(name.startswith("voxpop_") for name, *_ in read)


def test_workers_are_added_up(status: HostStatus) -> None:
    status.counters[0].add(counter_index("packets", "upstream", "forwarded"), 3)
    status.counters[1].add(counter_index("packets", "upstream", "forwarded"), 4)
    status.counters[1].values[counter_index("flows")] = 5
    read = samples(status)
    assert read["voxpop_relay_packets_total", "upstream", "forwarded"] == 7
    assert (read["voxpop_relay_flows", "0"], read["voxpop_relay_flows", "1"]) == (0, 5)


def test_the_histogram_is_cumulative_and_in_seconds(status: HostStatus) -> None:
    for worker, bucket in ((0, "50000"), (1, "50000"), (0, "1000000"), (1, "inf")):
        status.counters[worker].add(counter_index("first_packet_bucket", bucket))
    status.counters[0].add(counter_index("first_packet_sum_ns"), 1_500_000_000)
    read = samples(status)
    name = "voxpop_relay_first_packet_seconds_bucket"
    assert [read[name, bound] for bound in ("5e-05", "0.0001", "0.001", "0.25", "+Inf")] == [2, 2, 3, 3, 4]
    assert read["voxpop_relay_first_packet_seconds_count",] == 4
    assert read["voxpop_relay_first_packet_seconds_sum",] == 1.5


def test_every_metric_explains_itself(status: HostStatus) -> None:
    for family in text_string_to_metric_families(render(status, 0).decode()):
        assert family.documentation.endswith("."), family.name
        assert len(family.documentation) > 20, family.name


def test_a_vip_of_the_other_family_is_a_plain_label(status: HostStatus) -> None:
    status.vips = (Endpoint("2001:db8::1", 3478),)
    assert samples(status)["voxpop_relay_kernel_drops_total", "[2001:db8::1]:3478"] == 0

"""Installed and adopted minus removed is how many flows there are, whatever a worker before has left."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from edge.forwarders.tally import FlowTally, count_up_failed
from edge.relay.counters import Counters, Direction, Removal, SendError, create
from edge.relay.verdict import RelayReason


@pytest.fixture
def counters() -> Iterator[Counters]:
    made, fd = create()
    yield made
    made.close()
    os.close(fd)


def balance(counters: Counters) -> int:
    came = counters.get("installs", "installed") + counters.get("installs", "adopted")
    return came - sum(counters.get("removals", cause) for cause in Removal)


@pytest.mark.parametrize("found", [0, 2, 3, 7])
def test_a_successor_goes_on_from_the_flows_that_it_finds(counters: Counters, found: int) -> None:
    before = FlowTally(counters, 0)
    for flows in (1, 2, 3):
        before.installed(flows)
    FlowTally(counters, found)
    assert counters.get("flows") == balance(counters) == found
    assert counters.get("installs", "adopted") == max(found - 3, 0)
    assert counters.get("removals", Removal.LOST) == max(3 - found, 0)


def test_flows_that_come_go_and_are_refused(counters: Counters) -> None:
    tally = FlowTally(counters, 0)
    tally.installed(1)
    tally.refused(RelayReason.TABLE_FULL)
    tally.rebound()
    tally.installed(2)
    tally.removed(Removal.MOVED, 1)
    assert counters.get("flows") == balance(counters) == 1
    assert [counters.get("installs", each) for each in ("installed", "rebound", "table_full")] == [2, 1, 1]


def test_a_failed_packet_is_counted_with_its_bytes_and_its_error(counters: Counters) -> None:
    count_up_failed(counters, SendError.UNRESOLVED, 100)
    assert counters.get("packets", Direction.UPSTREAM, "failed") == 1
    assert counters.get("bytes", Direction.UPSTREAM, "failed") == 100
    assert counters.get("send_failures", Direction.UPSTREAM, SendError.UNRESOLVED) == 1

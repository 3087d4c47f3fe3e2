"""Control messages about next hops: their form, and their bound."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.addr import IpFamily
from ebpf.ids import NextHopId
from edge.nexthops.messages import HOSTS_PER_MESSAGE, hosts_messages
from tests.edge.nexthops.kit import one_view

WAY = NextHopId(7)


@given(st.integers(0, 3 * HOSTS_PER_MESSAGE))
def test_hosts_are_all_told_in_messages_of_bounded_size(count: int) -> None:
    hosts = {f"10.0.{number >> 8}.{number & 255}": NextHopId(number) for number in range(count)}
    parts = [message["hosts"] for message in hosts_messages(hosts)]
    told: dict[str, NextHopId] = {}
    for part in parts:
        assert isinstance(part, dict)
        assert 0 < len(part) <= HOSTS_PER_MESSAGE
        told |= part
    assert len(parts) == -(-count // HOSTS_PER_MESSAGE)
    assert told == hosts


@pytest.mark.parametrize("family", IpFamily)
def test_first_addresses_have_all_their_digits(family: IpFamily) -> None:
    message = one_view({family: [(1, WAY)]})
    assert message[str(family)] == [[["1".rjust(2 * family.address_bytes, "0"), WAY]]]

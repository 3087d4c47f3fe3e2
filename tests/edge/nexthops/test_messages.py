"""Control messages about next hops: what the cache of a worker makes of them, and their bound."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.addr import IpFamily, pack_address
from core.service.supervisor import Message
from ebpf.ids import NOWHERE, NextHopId
from edge.nexthops.fib import RouteCache
from edge.nexthops.messages import HOSTS_PER_MESSAGE, ON_LINK, hosts_messages, routes_message

V4, V6 = IpFamily.V4, IpFamily.V6
WAY, OTHER_WAY = NextHopId(7), NextHopId(9)


def sent(message: Message) -> Message:
    """As it comes out of the control socket."""
    received: Message = json.loads(json.dumps(message))
    return received


def test_a_worker_looks_up_what_it_was_told() -> None:
    cache = RouteCache()
    cache.set_routes(
        sent(
            routes_message(
                {
                    V4: [(0, NOWHERE), (10 << 24, WAY), (11 << 24, ON_LINK)],
                    V6: [(0, OTHER_WAY), (0xFE80 << 112, NOWHERE)],
                }
            )
        )
    )
    found = [
        cache.lookup(pack_address(host))
        for host in ("9.9.9.9", "10.0.0.0", "11.0.0.1", "2001:db8::1", "fe80::1")
    ]
    assert found == [NOWHERE, WAY, None, OTHER_WAY, NOWHERE]
    for message in hosts_messages({"11.0.0.1": WAY}):
        cache.add_hosts(sent(message))
    assert cache.lookup(pack_address("11.0.0.1")) == WAY
    for message in hosts_messages({"11.0.0.1": None}):
        cache.add_hosts(sent(message))
    assert cache.lookup(pack_address("11.0.0.1")) is None, "no longer one"


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
    message = routes_message({family: [(1, WAY)]})
    assert message[str(family)] == [["1".rjust(2 * family.address_bytes, "0"), WAY]]

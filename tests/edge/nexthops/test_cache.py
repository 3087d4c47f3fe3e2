"""Look-ups of a worker: of one flow, and of many at a time."""

from __future__ import annotations

import json
from ipaddress import ip_address

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from core.addr import IpFamily, pack_address
from core.service.supervisor import MESSAGE_BYTES, Message, _encode
from ebpf.ids import NOWHERE, NextHopId, VipId
from edge.nexthops.cache import UNKNOWN, RouteCache
from edge.nexthops.fib import MAX_INTERVALS, MAX_LEGS
from edge.nexthops.messages import (
    MAX_SPREADS,
    ON_LINK,
    RouteTables,
    SpreadLeg,
    hosts_messages,
    routes_message,
    spread_number,
)
from edge.nexthops.spread import flow_key, flow_keys
from tests.edge.nexthops.kit import one_view

V4, V6 = IpFamily.V4, IpFamily.V6
WAY, OTHER_WAY = NextHopId(7), NextHopId(9)
LEGS = (SpreadLeg(WAY, 1, 0xABCDEF01), SpreadLeg(OTHER_WAY, 3, 0x12345678))
EDGES = [0, 1, 10 << 24, (10 << 24) - 1, 11 << 24, (1 << 32) - 1]
EDGES6 = [0, 1, 0x2001 << 112, (0x2001 << 112) - 1, 0x2001 << 112 | 1 << 64, (1 << 128) - 1]


def sent(message: Message) -> Message:
    """As it comes out of the control socket."""
    received: Message = json.loads(json.dumps(message))
    return received


def look(cache: RouteCache, host: str, view: int = 0, key: int = 0) -> NextHopId | None:
    return cache.lookup(pack_address(host), view, key)


def test_a_worker_looks_up_what_it_was_told() -> None:
    cache = RouteCache()
    assert look(cache, "10.0.0.1") == look(cache, "2001::1") == NOWHERE
    rows = {
        V4: [(0, NOWHERE), (10 << 24, WAY), (11 << 24, ON_LINK)],
        V6: [(0, OTHER_WAY), (0xFE80 << 112, NOWHERE)],
    }
    cache.set_routes(sent(one_view(rows)))
    found = [
        look(cache, host) for host in ("9.255.255.255", "10.0.0.0", "11.0.0.1", "2001:db8::1", "fe80::1")
    ]
    assert found == [NOWHERE, WAY, None, OTHER_WAY, NOWHERE]
    for message in hosts_messages({"11.0.0.1": WAY}):
        cache.add_hosts(sent(message))
    assert look(cache, "11.0.0.1") == WAY
    for message in hosts_messages({"11.0.0.1": None}):
        cache.add_hosts(sent(message))
    assert look(cache, "11.0.0.1") is None, "no longer one"


def test_views_are_apart() -> None:
    """Two VIPs, each with a provider of its own, and the backbone."""
    cache = RouteCache()
    views = {V4: [[(0, WAY)], [(0, OTHER_WAY)], [(0, NextHopId(5))]]}
    cache.set_routes(sent(routes_message(RouteTables(views, (), {V4: 2}, {VipId(1): 0, VipId(200): 1}))))
    assert cache.upstream == {V4: 2, V6: 0}
    assert cache.downstream[[1, 200, 7]].tolist() == [0, 1, 0]
    assert [look(cache, "203.0.113.1", view) for view in range(3)] == [WAY, OTHER_WAY, 5]
    clients = np.frombuffer(pack_address("203.0.113.1") * 3, np.uint32)
    found = cache.lookup_all(clients, cache.downstream[[200, 1, 200]], np.zeros(3, np.uint64))
    assert found.tolist() == [OTHER_WAY, WAY, OTHER_WAY]
    cache.set_routes(sent(one_view({V4: [(0, WAY)], V6: [(0, WAY)]})))
    assert cache.upstream == {V4: 0, V6: 0}, "what was said is taken back"
    assert not cache.downstream.any()


_targets = st.sampled_from([NOWHERE, WAY, OTHER_WAY, ON_LINK, spread_number(0), spread_number(1)])


def _rows(edges: list[int], top: int) -> st.SearchStrategy[list[tuple[int, NextHopId]]]:
    starts = st.lists(st.sampled_from(edges) | st.integers(0, top), max_size=12, unique=True)
    return starts.flatmap(
        lambda drawn: st.lists(_targets, min_size=len(drawn) + 1, max_size=len(drawn) + 1).map(
            lambda targets: list(zip(sorted({0, *drawn}), targets, strict=False))
        )
    )


@given(_rows(EDGES, 2**32 - 1), _rows(EDGES6, 2**128 - 1), st.data())
def test_one_look_up_and_many_find_the_same(
    four: list[tuple[int, NextHopId]], six: list[tuple[int, NextHopId]], data: st.DataObject
) -> None:
    cache = RouteCache()
    cache.set_routes(sent(one_view({V4: four, V6: six}, [LEGS, LEGS[::-1][:1]])))
    cache.add_hosts({"hosts": {"10.0.0.0": 77, "0.0.0.1": 78, "2001::": 79}})
    for family, edges, rows in ((V4, EDGES, four), (V6, EDGES6, six)):
        near = {n for start, _ in rows for n in (start - 1, start, start + 1)} | set(edges)
        numbers = sorted(n for n in near if 0 <= n < 1 << 8 * family.address_bytes)
        packed = [number.to_bytes(family.address_bytes, "big") for number in numbers]
        ports = data.draw(st.lists(st.integers(0, 65535), min_size=len(packed), max_size=len(packed)))
        words = np.frombuffer(b"".join(packed), np.uint32)
        clients = words if family is V4 else words.reshape(-1, 4)
        wire_ports = np.array(ports, ">u2").view(np.uint16)
        keys = flow_keys(clients, wire_ports, np.zeros(len(ports), np.uint8))
        found = cache.lookup_all(clients, np.zeros(len(ports), np.uint8), keys)
        one_by_one = [
            cache.lookup(address, 0, flow_key(address, port, 0))
            for address, port in zip(packed, ports, strict=True)
        ]
        assert found.tolist() == [UNKNOWN if hop is None else hop for hop in one_by_one]


def test_the_longest_messages_fit() -> None:
    """As many routes, legs and VIPs as there may be."""
    spread = [SpreadLeg(NextHopId(4095 - n), 256, 2**32 - 1 - n) for n in range(MAX_LEGS)]
    longest = int(ip_address("2001:db8:1111:2222:3333:4444:5555:6666"))
    views = {
        V4: [[(0, NOWHERE)]],
        V6: [[(longest + n, spread_number(MAX_SPREADS - 1)) for n in range(MAX_INTERVALS - 1)]],
    }
    vips = {VipId(n): 255 for n in range(256)}
    tables = RouteTables(views, [spread] * MAX_SPREADS, {V4: 255, V6: 255}, vips)
    assert len(_encode(routes_message(tables))) <= MESSAGE_BYTES
    many = {f"2001:db8:1111:2222:3333:4444:5555:{n:x}": NextHopId(4095) for n in range(0x1000, 0x1800)}
    messages = list(hosts_messages(many))
    assert sum(len(m["hosts"]) for m in messages) == len(many)  # type: ignore[arg-type, misc]
    assert all(len(_encode(message)) <= MESSAGE_BYTES for message in messages)

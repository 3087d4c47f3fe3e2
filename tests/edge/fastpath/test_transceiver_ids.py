"""The numbers of transceivers, over real maps: what they stand for, whose they are, when they are free."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.addr import Endpoint, IpFamily
from ebpf import layout, pins
from ebpf.flows import FlowRecord
from ebpf.ids import NOWHERE, NatSlot, NextHopId, TransceiverId, VipId
from ebpf.kernel import bpffs
from ebpf.tables import Tables
from edge.fastpath.transceiver_ids import RECLAIM_NS, REST_NS, Transceivers

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes BPF maps")

V4, V6 = IpFamily.V4, IpFamily.V6
CLIENTS = {V4: Endpoint("203.0.113.1", 5000), V6: Endpoint("2001:db8:c::1", 5000)}
FEW = 20_000
"""Workers, so many that each has three numbers or four."""
ROUTE, OTHER_ROUTE, CLIENT_ROUTE = NextHopId(7), NextHopId(8), NextHopId(1)
VIP = VipId(1)
NOBODY = TransceiverId(0)
S = 1_000_000_000


def transceiver(number: int, version: IpFamily = V4) -> Endpoint:
    """Four ports of each host."""
    host = f"10.20.{number // 1024}.{number // 4 % 256}" if version is V4 else f"2001:db8:1::{number // 4:x}"
    return Endpoint(host, 40000 + number % 4)


@pytest.fixture(scope="module")
def pinned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    root = tmp_path_factory.mktemp("bpf")
    bpffs.mount(root)
    directory = root / "v1"
    pins.ensure_maps(directory, pins.Sizes(64, 64, 1, 1, 64))
    yield directory
    bpffs.unmount(root)


@pytest.fixture
def tables(pinned: Path) -> Iterator[Tables]:
    opened = Tables(pinned)
    wipe(opened)
    yield opened
    opened.close()


def wipe(tables: Tables) -> None:
    for version in IpFamily:
        tables.transceivers[version][:] = 0
        for records in tables.records[version]:
            records["common"]["state"] = layout.SLOT_OFF


def begin_flow(tables: Tables, slot: int, number: TransceiverId, version: IpFamily = V4) -> None:
    to = transceiver(0, version)
    tables.write_slot(FlowRecord(NatSlot(slot), CLIENTS[version], VIP, to, number, CLIENT_ROUTE))


def take_all(numbers: Transceivers, now_ns: int = 0) -> list[TransceiverId]:
    """Every number that is free, each for another transceiver."""
    taken: list[TransceiverId] = []
    while (number := numbers.take(transceiver(len(taken)), OTHER_ROUTE, now_ns)) is not None:
        taken.append(number)
    return taken


@pytest.mark.parametrize("version", [*IpFamily])
def test_a_number_stands_for_an_address_and_a_port(tables: Tables, version: IpFamily) -> None:
    numbers = Transceivers(tables, version, (0, 1), 0)
    ends = [transceiver(n, version) for n in range(8)]
    given_away = [numbers.take(end, ROUTE, 0) for end in ends]
    assert None not in given_away
    assert 0 not in given_away
    assert len(set(given_away)) == 8
    assert [numbers.find(end, ROUTE) for end in ends] == given_away
    assert numbers.find(transceiver(8, version), ROUTE) is None
    for end, number in zip(ends, given_away, strict=True):
        row = tables.transceivers[version][number]
        assert int(row["common"]["port"]).to_bytes(2, "little") == end.port.to_bytes(2, "big")
        assert int(row["common"]["nexthop"]) == ROUTE
        assert number is not None
        assert numbers.is_held(number, row["addr"].tobytes())
        assert not numbers.is_held(number, b"\x7f" + row["addr"].tobytes()[1:])


@pytest.mark.parametrize("workers", [1, 2, 3, 64])
def test_each_number_is_one_workers(tables: Tables, workers: int) -> None:
    shares = [Transceivers(tables, V4, (index, workers), 0) for index in range(workers)]
    every = [number for share in shares for number in take_all(share)]
    assert sorted(every) == list(range(1, layout.TRANSCEIVERS))


@pytest.mark.parametrize("version", [*IpFamily])
def test_a_number_that_flows_have_is_not_taken_back(tables: Tables, version: IpFamily) -> None:
    numbers = Transceivers(tables, version, (0, 1), 0)
    used, idle = (numbers.take(transceiver(n, version), ROUTE, 0) for n in (1, 2))
    assert used is not None
    begin_flow(tables, 5000, used, version)
    numbers.take(transceiver(3, version), ROUTE, RECLAIM_NS)
    hops = tables.transceivers[version]["common"]["nexthop"]
    assert (numbers.find(transceiver(1, version), ROUTE), hops[used]) == (used, ROUTE)
    assert (numbers.find(transceiver(2, version), ROUTE), hops[idle]) == (None, 0)


def test_what_is_taken_back_rests(tables: Tables, caplog: pytest.LogCaptureFixture) -> None:
    """A packet may have read the record just before its flow ended."""
    numbers = Transceivers(tables, V4, (0, FEW), 0)
    taken = take_all(numbers)
    for slot, number in enumerate(taken[1:], 5000):
        begin_flow(tables, slot, number)
    assert numbers.take(transceiver(99), OTHER_ROUTE, RECLAIM_NS - 1) is None, "none is free, nor looked for"
    assert numbers.take(transceiver(99), OTHER_ROUTE, RECLAIM_NS) is None, "it rests"
    assert numbers.take(transceiver(99), OTHER_ROUTE, RECLAIM_NS + REST_NS - 1) is None
    assert numbers.take(transceiver(99), OTHER_ROUTE, RECLAIM_NS + REST_NS) == taken[0]
    assert not caplog.messages
    begin_flow(tables, 6000, taken[0])
    assert numbers.take(transceiver(98), OTHER_ROUTE, 3 * RECLAIM_NS) is None
    assert caplog.messages == [
        f"IPv4 flows of this worker lead to transceivers by {len(taken)} numbers: no room for another"
    ]


def test_a_successor_finds_what_flows_have(tables: Tables) -> None:
    """Also where there are more workers than before: what is theirs now stays what it is."""
    before = Transceivers(tables, V4, (0, 1), 0)
    taken = [before.take(transceiver(n), ROUTE, 0) or NOBODY for n in range(6)]
    assert NOBODY not in taken
    for slot, number in enumerate(taken[:4], 5000):
        begin_flow(tables, slot, number)
    workers = [Transceivers(tables, V4, (index, 2), S) for index in (0, 1)]
    assert [[w.find(transceiver(n), ROUTE) for n in range(6)] for w in workers] == [
        [number if n < 4 and number % 2 == which else None for n, number in enumerate(taken)]
        for which in (1, 0)
    ]
    assert tables.transceivers[V4]["common"]["nexthop"][taken].tolist() == [ROUTE] * 4 + [NOWHERE] * 2
    fresh = [number for worker in workers for number in take_all(worker, S + REST_NS - 1)]
    assert len(fresh) == layout.TRANSCEIVERS - 1 - 6, "what never was anybody's need not rest"
    rested = [
        worker.take(transceiver(n), OTHER_ROUTE, S + REST_NS)
        for worker, n in zip(workers, (90_001, 90_002), strict=True)
    ]
    assert sorted(filter(None, rested)) == sorted(taken[4:])


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_no_live_record_ever_leads_to_another(pinned: Path, data: st.DataObject) -> None:
    """Flows begin and end, workers are replaced, their number changes: each leads where it was led."""
    tables = Tables(pinned)
    wipe(tables)
    flows: dict[int, int] = {}
    now_ns, index, workers = 0, 0, FEW
    numbers = Transceivers(tables, V4, (index, workers), now_ns)
    steps = st.tuples(st.sampled_from(["begin", "begin", "end", "wait", "replace"]), st.integers(0, 7))
    for step, which in data.draw(st.lists(steps, max_size=40)):
        if step == "begin" and which not in flows:
            to = data.draw(st.integers(0, 7))
            hop = data.draw(st.sampled_from([ROUTE, OTHER_ROUTE, NOWHERE]))
            number = numbers.find(transceiver(to), hop) or numbers.take(transceiver(to), hop, now_ns)
            if number is not None:
                begin_flow(tables, 5000 + which, number)
                flows[which] = to
        elif step == "end" and which in flows:
            del flows[which]
            tables.set_slot_state(V4, NatSlot(5000 + which), layout.SLOT_OFF)
        elif step == "wait":
            now_ns += RECLAIM_NS // 2
        elif step == "replace":
            index, workers = which % 2, FEW + which // 2
            numbers = Transceivers(tables, V4, (index, workers), now_ns)
        for slot, to in flows.items():
            led_by = tables.records[V4][layout.UPSTREAM]["common"]["transceiver"][5000 + slot]
            row = tables.transceivers[V4][int(led_by)]
            found = ".".join(map(str, row["addr"].tobytes())), int(row["common"]["port"].byteswap())
            assert found == transceiver(to)
    tables.close()

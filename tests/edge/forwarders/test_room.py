"""Who makes room: shares of ufrags, sources and the table, against a table that is a dict."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition

from core.addr import pack_address
from edge.forwarders.newcomers import Newcomer, source_of
from edge.forwarders.room import LEAST_PER_SOURCE, MOST_PER_SOURCE, QUIET_NS, Room, SourceCounts
from edge.relay.forwarder import MAX_ADDRESSES_PER_TOKEN
from edge.relay.verdict import RelayReason
from tests.fuzz.sequences import Machine, rule
from tests.suite.fuzzing import times

S = 1_000_000_000


@dataclass
class Row:
    source: int
    owner: str
    answered_ns: int
    is_confirmed: bool = False


@dataclass
class Table:
    """What a forwarder does with a room."""

    max_flows: int
    now_ns: int = 0
    rows: dict[int, Row] = field(default_factory=dict)
    evicted: list[int] = field(default_factory=list)
    by_owner: dict[str, list[int]] = field(default_factory=dict)
    next_place: int = 0

    def __post_init__(self) -> None:
        self.room = Room(self.max_flows, lambda place: self.rows[place].is_confirmed)

    def silences(self, owner: str) -> list[tuple[int, int]]:
        return [(p, self.now_ns - self.rows[p].answered_ns) for p in self.by_owner.get(owner, ())]

    def add(self, source: int, owner: str, *, is_restored: bool = False) -> int | RelayReason:
        refusal = self.room.refusal(source, owner, len(self.rows), self.silences(owner))
        if refusal is not None:
            return refusal
        while True:
            gone = self.room.next_to_go(source, owner, len(self.rows), self.silences(owner))
            if gone is None:
                break
            self.end(gone)
            self.evicted.append(gone)
        self.next_place += 1
        self.rows[self.next_place] = Row(source, owner, self.now_ns)
        self.by_owner.setdefault(owner, []).append(self.next_place)
        self.room.begin(self.next_place, Newcomer(source, owner, self.now_ns, is_restored))
        return self.next_place

    def answer(self, place: int) -> None:
        self.rows[place].is_confirmed = True
        self.rows[place].answered_ns = self.now_ns

    def end(self, place: int) -> None:
        row = self.rows.pop(place)
        self.by_owner[row.owner].remove(place)
        self.room.end(place, row.source)

    def add_confirmed(self, source: int, owner: str) -> int:
        place = self.add(source, owner)
        assert isinstance(place, int)
        self.answer(place)
        return place


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("::192.0.2.1", "192.0.2.1", False),
    ],
)
def test_a_source_is_an_ipv4_address_or_an_ipv6_64(one: str, other: str, is_same: bool) -> None:
    assert (source_of(pack_address(one)) == source_of(pack_address(other))) == is_same


def test_one_check_replayed_from_everywhere_leaves_room_for_its_owner() -> None:
    """None of the replays is answered, but for those of addresses that the thief can hear at."""
    table = Table(1000)
    media, spare = table.add_confirmed(1, "owner"), table.add_confirmed(2, "owner")
    for source in range(100, 300):
        table.now_ns += S // 5
        table.answer(media)
        assert isinstance(table.add(source, "owner"), int)
    assert len(table.silences("owner")) == MAX_ADDRESSES_PER_TOKEN
    rebound = table.add(3, "owner")
    assert isinstance(rebound, int)
    assert {media, spare, rebound} <= table.rows.keys(), "what is unconfirmed goes first"


def test_answered_replays_give_way_to_the_owner_and_never_its_live_flow() -> None:
    table = Table(1000)
    media = table.add_confirmed(1, "owner")
    for source in range(100, 300):
        table.now_ns += S // 5
        table.answer(media)
        outcome = table.add(source, "owner")
        if isinstance(outcome, int):
            table.answer(outcome)
    assert isinstance(table.add(3, "owner"), int)
    assert media in table.rows


def test_a_ufrag_whose_flows_are_all_live_gets_no_more() -> None:
    table = Table(1000)
    for source in range(MAX_ADDRESSES_PER_TOKEN):
        table.add_confirmed(source, "owner")
    table.now_ns += QUIET_NS - 1
    assert table.add(99, "owner") is RelayReason.TOO_MANY_ADDRESSES
    assert isinstance(table.add(99, "another"), int)
    table.now_ns += 1
    assert isinstance(table.add(98, "owner"), int)


def test_a_source_has_so_many_unconfirmed_flows_and_its_own_oldest_goes() -> None:
    table = Table(100_000)
    places = [table.add(7, f"{n}") for n in range(MOST_PER_SOURCE)]
    stranger = table.add(8, "stranger")
    assert not table.evicted
    table.add(7, "one more")
    assert table.evicted == places[:1]
    assert stranger in table.rows


def test_thousands_behind_one_address_are_carried() -> None:
    """A carrier's NAT: each is answered in a tenth of a second."""
    table = Table(8000)
    for number in range(4000):
        table.add_confirmed(7, f"{number}")
        table.now_ns += S // 1000
    assert len(table.rows) == 4000
    assert not table.evicted


def test_the_last_quarter_is_not_for_who_has_half() -> None:
    table = Table(4096)
    while isinstance(place := table.add(7, f"{table.next_place}"), int):
        table.answer(place)
    assert place is RelayReason.SOURCE_SHARE
    assert len(table.rows) == 4096 * 3 // 4
    for number in range(1024):
        assert isinstance(table.add(1000 + number, f"other {number}"), int)
    assert table.add(5000, "late") is not RelayReason.SOURCE_SHARE


def test_in_a_full_table_the_oldest_unconfirmed_goes_and_those_of_a_store_last() -> None:
    table = Table(LEAST_PER_SOURCE)
    known = [table.add(n, f"{n}", is_restored=True) for n in range(2)]
    kept = [table.add_confirmed(n, f"{n}") for n in range(2, LEAST_PER_SOURCE - 1)]
    fresh = table.add(98, "fresh")
    for number in range(3):
        table.add(100 + number, f"late {number}")
        table.answer(table.next_place)
    assert table.evicted == [fresh, *known]
    assert table.add(200, "too late") is RelayReason.TABLE_FULL
    assert set(kept) < table.rows.keys()


def test_flows_that_a_store_knew_have_no_share() -> None:
    """When a PoP is dead, all that were behind one address come at once."""
    table = Table(100_000)
    for number in range(3 * MOST_PER_SOURCE):
        assert isinstance(table.add(7, f"{number}", is_restored=True), int)
    assert not table.evicted


def test_counts_of_sources_are_never_too_low() -> None:
    counts, model = SourceCounts(), Counter[int]()
    for number in range(4000):
        source = number * 7919 % 1009 << 20
        model[source] += 1
        counts.change(source, 1)
    assert all(model[source] <= counts.at_most(source) <= 3 * model[source] + 8 for source in model)
    for source, count in model.items():
        counts.change(source, -count)
    assert all(counts.at_most(source) == 0 for source in model)


class RoomMachine(Machine):
    """Any order of flows that begin, are answered and end."""

    kept_in = "room"

    def __init__(self) -> None:
        super().__init__()
        self.table = Table(80)
        self.confirmed: set[int] = set()

    @rule(
        source=st.integers(0, 5),
        owner=st.sampled_from("abcd"),
        restored=st.booleans(),
        many=st.integers(1, 30),
    )
    def begin(self, source: int, owner: str, restored: bool, many: int) -> None:
        for _ in range(many):
            before = set(self.table.rows)
            of_owner = {place for place, _ in self.table.silences(owner)}
            self.table.evicted.clear()
            outcome = self.table.add(source, owner, is_restored=restored)
            if not isinstance(outcome, int):
                assert before == set(self.table.rows), "a refusal costs nobody anything"
            assert set(self.table.evicted) & self.confirmed <= of_owner, (
                "strangers never take a confirmed one"
            )
            self.confirmed -= set(self.table.evicted)

    @precondition(lambda self: self.table.rows)
    @rule(which=st.integers(0, 1000), ends=st.booleans())
    def answer_or_end(self, which: int, ends: bool) -> None:
        place = sorted(self.table.rows)[which % len(self.table.rows)]
        if ends:
            self.table.end(place)
            self.confirmed.discard(place)
        else:
            self.table.answer(place)
            self.confirmed.add(place)

    @rule(seconds=st.sampled_from([0.1, 1, 4]))
    def sweep(self, seconds: float) -> None:
        self.table.now_ns += int(seconds * S)
        for place in self.table.room.newcomers.overdue(self.table.now_ns - 3 * S, 1000):
            assert place not in self.confirmed
            self.table.end(place)

    @invariant()
    def bounds_hold(self) -> None:
        table = self.table
        assert len(table.rows) <= table.max_flows
        owners = Counter(row.owner for row in table.rows.values())
        assert max(owners.values(), default=0) <= MAX_ADDRESSES_PER_TOKEN
        unconfirmed = table.rows.keys() - self.confirmed
        newcomers = set(table.room.newcomers.places())
        assert unconfirmed <= newcomers
        assert newcomers <= table.rows.keys()

    def mark(self) -> object:
        """How full it is, of whom, and whether the last to begin had somebody go."""
        rows, of = len(self.table.rows), len(self.confirmed)
        return rows * 4 // self.table.max_flows, of * 4 // self.table.max_flows, bool(self.table.evicted)


TestRoomMachine = pytest.mark.fuzz(RoomMachine.TestCase)
TestRoomMachine.settings = settings(max_examples=times(60), stateful_step_count=30, deadline=None)

"""The table of links, with the time as a value."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.lab.wan.delay import Conditions
from edge.lab.wan.links import End, Link, Wan, WanError, dump, load

MS = 1_000_000


def link(name: str, a: str, b: str, conditions: Conditions | None = None) -> Link:
    ends = End(a, f"voxpop-lab-{a}", f"to-{b}"), End(b, f"voxpop-lab-{b}", f"to-{a}")
    return Link(name, ends, conditions or Conditions())


LINKS = [
    link("one", "tokyo", "osaka", Conditions(10)),
    link("two", "tokyo", "paris", Conditions(120, 5, 0.01)),
]


def test_links_are_written_and_read() -> None:
    assert load(dump(LINKS)) == LINKS


def test_directions_come_in_pairs_each_the_others_way_back() -> None:
    directions = Wan(LINKS).directions
    assert [(d.sender.place, d.receiver.place) for d in directions] == [
        ("tokyo", "osaka"), ("osaka", "tokyo"), ("tokyo", "paris"), ("paris", "tokyo")
    ]  # fmt: skip
    assert all(directions[n].sender == directions[n ^ 1].receiver for n in range(4))


@pytest.mark.parametrize("second", [link("one", "a", "b"), link("two", "a", "a")], ids=["name", "place"])
def test_names_and_places_must_differ(second: Link) -> None:
    with pytest.raises(WanError):
        Wan([link("one", "a", "b"), second])


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 30 * MS)), max_size=60))
def test_packets_of_all_links_come_when_they_are_due(offers: list[tuple[int, int]]) -> None:
    wan = Wan(
        [
            link("quick", "a", "b", Conditions(1)),
            link("slow", "a", "c", Conditions(70)),
            link("loose", "b", "c", Conditions(20, 20, reorder=True)),
        ]
    )
    now_ns = 0
    sent: dict[bytes, tuple[int, int]] = {}
    came: dict[bytes, int] = {}

    def take() -> None:
        for number, packets in wan.take_due(now_ns):
            for packet in packets:
                came[packet] = now_ns
                assert sent[packet][0] == number

    for index, (number, gap) in enumerate(offers):
        until = now_ns + gap
        while (due_ns := wan.due_ns) is not None and due_ns <= until:
            now_ns = due_ns
            take()
        now_ns = until
        packet = index.to_bytes(2, "big")
        sent[packet] = number, now_ns
        wan.offer(number, packet, now_ns)
    while (due_ns := wan.due_ns) is not None:
        now_ns = due_ns
        take()
    assert came.keys() == sent.keys()
    for packet, (number, sent_ns) in sent.items():
        conditions = wan.directions[number].line.conditions
        late_ns = came[packet] - sent_ns
        assert conditions.delay_ms * MS <= late_ns <= (conditions.delay_ms + conditions.jitter_ms) * MS


def test_a_direction_is_changed_by_itself_or_both() -> None:
    wan = Wan(LINKS)
    wan.set("one", "osaka", {"loss": 0.5})
    assert [d.line.conditions.loss for d in wan.directions] == [0, 0.5, 0.01, 0.01]
    assert wan.directions[1].line.conditions.delay_ms == 10
    wan.set("one", None, {"delay_ms": 20})
    assert [d.line.conditions.delay_ms for d in wan.directions] == [20, 20, 120, 120]
    wan.cut("two", "tokyo")
    assert [d.line.is_cut for d in wan.directions] == [False, False, True, False]
    wan.cut("two", None)
    wan.restore("two", "tokyo")
    assert [d.line.is_cut for d in wan.directions] == [False, False, False, True]


@pytest.mark.parametrize(
    ("name", "sender", "changes"),
    [
        ("three", None, {}),
        ("one", "paris", {}),
        ("one", None, {"loss": 2}),
        ("one", None, {"loss": "much"}),
        ("one", None, {"speed": 1}),
        ("one", None, None),
    ],
    ids=["link", "sender", "range", "type", "key", "nothing"],
)
def test_what_cannot_be_set_changes_nothing(name: str, sender: str | None, changes: object) -> None:
    wan = Wan(LINKS)
    before = wan.state()
    with pytest.raises(WanError):
        wan.set(name, sender, changes)  # type: ignore[arg-type]
    assert wan.state() == before


def test_a_cut_leaves_nothing_due_for_long() -> None:
    wan = Wan(LINKS)
    wan.offer(0, b"x", 0)
    wan.cut("one", None)
    assert list(wan.take_due(10 * MS)) == []
    assert wan.due_ns is None


def test_seeds_differ_by_link_and_direction() -> None:
    wan = Wan([link("one", "a", "b", Conditions(loss=0.5)), link("two", "a", "b", Conditions(loss=0.5))], 7)
    fates = []
    for number in range(4):
        for index in range(64):
            wan.offer(number, bytes([index]), 0)
        fates.append(tuple(wan.directions[number].line.take_due(0)))
    assert len(set(fates)) == 4

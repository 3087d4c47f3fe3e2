"""Who gives way, by values alone."""

from __future__ import annotations

import pytest

from core.service.connections import ConnectionTable, Entry, Phase, Room, source_of

ROOM = Room(connections=4, per_source=None, closing=2)
WORKED_FOR = (Phase.BUSY, Phase.WEBSOCKET)


def filled(table: ConnectionTable, phases: list[Phase], source: str | None = "a") -> list[Entry]:
    """One connection in each phase, a second after the other."""
    entries = []
    for second, phase in enumerate(phases):
        entry, victim = table.admit(source, Room(100, None, 0), second)
        assert entry is not None
        assert victim is None
        table.move(entry, phase, second)
        entries.append(entry)
    return entries


@pytest.mark.parametrize(
    ("address", "source"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::"),
        ("2001:db8:1:2:ffff::", "2001:db8:1:2::"),
        ("2001:db8:1:3::", "2001:db8:1:3::"),
        ("fe80::1%eth0", "fe80::"),
        ("no address", None),
        (None, None),
    ],
)
def test_who_is_counted_together(address: str | None, source: str | None) -> None:
    assert source_of(address) == source


def test_as_long_as_there_is_room_nobody_gives_way() -> None:
    table = ConnectionTable()
    for _ in range(ROOM.connections):
        entry, victim = table.admit("a", ROOM, 0)
        assert entry is not None
        assert victim is None
    assert len(table) == 4


@pytest.mark.parametrize(
    ("phases", "first"),
    [
        ([Phase.BUSY, Phase.ANSWER, Phase.BODY, Phase.REFUSED], 3),
        ([Phase.HEADER, Phase.BODY, Phase.IDLE, Phase.BUSY], 2),
        ([Phase.WEBSOCKET, Phase.BODY, Phase.HEADER, Phase.ANSWER], 1),
        ([Phase.ANSWER, Phase.HEADER, Phase.BODY, Phase.BUSY], 1),
        ([Phase.IDLE, Phase.IDLE, Phase.IDLE, Phase.IDLE], 0),
        ([Phase.BUSY, Phase.WEBSOCKET, Phase.ANSWER, Phase.BUSY], 2),
    ],
)
def test_the_idlest_gives_way(phases: list[Phase], first: int) -> None:
    table = ConnectionTable()
    entries = filled(table, phases)
    entry, victim = table.admit("b", ROOM, 10)
    assert entry is not None
    assert victim is entries[first]
    assert len(table) == 4


def test_idle_for_longest_is_counted_from_the_last_request() -> None:
    table = ConnectionTable()
    entries = filled(table, [Phase.IDLE] * 4)
    table.move(entries[0], Phase.BUSY, 5)
    table.move(entries[0], Phase.IDLE, 6)
    assert table.admit("b", ROOM, 10)[1] is entries[1]


def test_who_is_worked_for_never_gives_way() -> None:
    table = ConnectionTable()
    filled(table, [*WORKED_FOR, *WORKED_FOR])
    assert table.admit("b", ROOM, 10) == (None, None)
    assert len(table) == 4


def test_proxies_give_way_last() -> None:
    table = ConnectionTable()
    [proxy] = filled(table, [Phase.REFUSED], None)
    clients = filled(table, [Phase.BUSY, Phase.BUSY, Phase.ANSWER])
    assert table.admit("b", ROOM, 10)[1] is clients[2]
    table.move(next(entry for entry in table.overdue(Phase.HEADER, 0, 11)), Phase.BUSY, 11)
    assert table.admit("b", ROOM, 12)[1] is proxy


def test_a_crowd_gives_way_to_itself() -> None:
    table = ConnectionTable()
    room = Room(connections=100, per_source=2, closing=9)
    other = filled(table, [Phase.IDLE], "b")
    crowd = filled(table, [Phase.HEADER, Phase.IDLE], "a")
    assert table.admit("a", room, 10)[1] is crowd[1]
    assert table.admit("b", room, 10)[1] is None
    assert table.admit(None, room, 10)[1] is None
    table.move(crowd[0], Phase.BUSY, 11)
    for entry in list(table.overdue(Phase.HEADER, 0, 12)):
        table.move(entry, Phase.BUSY, 12)
    assert table.admit("a", room, 13) == (None, None), "all of them are worked for"
    assert len(table) == 5
    assert other[0].phase is Phase.IDLE


def test_websockets_do_not_count_to_an_address() -> None:
    table = ConnectionTable()
    filled(table, [Phase.WEBSOCKET] * 5)
    entry, victim = table.admit("a", Room(100, 2, 9), 10)
    assert entry is not None
    assert victim is None


def test_no_more_give_way_at_once_than_there_are_descriptors() -> None:
    table = ConnectionTable()
    filled(table, [Phase.IDLE] * 4)
    victims = [table.admit("b", ROOM, 10)[1] for _ in range(3)]
    assert [victim is None for victim in victims] == [False, False, True]
    assert victims[0] is not None
    table.closed(victims[0])
    assert table.admit("b", ROOM, 10)[1] is not None


def test_what_is_closed_is_gone() -> None:
    table = ConnectionTable()
    entries = filled(table, [Phase.IDLE, Phase.BODY])
    for entry in entries:
        table.closed(entry)
        table.move(entry, Phase.BUSY, 9)
    assert len(table) == 0
    assert set(table.counts.values()) == {0}


def test_overdue_is_who_has_been_there_for_too_long() -> None:
    table = ConnectionTable()
    entries = filled(table, [Phase.BODY, Phase.BODY, Phase.ANSWER, Phase.BODY])
    assert list(table.overdue(Phase.BODY, 9, 10)) == entries[:2]
    assert list(table.overdue(Phase.BODY, 11, 10)) == []

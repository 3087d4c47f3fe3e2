"""The table that processes share: rows that one writes, columns that all read."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from transceiver.signaling.ledger import SLOTS, Kind, Ledger, SlotBook, ledger_bytes, map_ledger, open_memory


def test_a_total_is_that_of_all_rows() -> None:
    memory = bytearray(ledger_bytes(3))
    ledgers = [Ledger(memory, row) for row in range(3)]
    for row, ledger in enumerate(ledgers):
        ledger.put(7, Kind.LIVE, 10 + row)
        ledger.put(8, Kind.LIVE, 100)
        ledger.put(7, Kind.PENDING, 1)
    assert [ledger.own(7, Kind.LIVE) for ledger in ledgers] == [10, 11, 12]
    assert {ledger.total(7, Kind.LIVE) for ledger in ledgers} == {33}
    assert ledgers[0].total(7, Kind.PENDING) == 3
    assert ledgers[0].total(SLOTS - 1, Kind.SIDEBANDS) == 0


def test_a_process_that_dies_has_nothing_but_what_it_let_in() -> None:
    ledger = Ledger(bytearray(ledger_bytes(2)), 1)
    for kind in Kind:
        ledger.put(SLOTS - 1, kind, 5)
    ledger.clear(0)
    assert all(ledger.own(SLOTS - 1, kind) == 5 for kind in Kind)
    ledger.clear(1)
    assert {kind: ledger.own(SLOTS - 1, kind) for kind in Kind} == dict.fromkeys(Kind, 0) | {Kind.TAKEN: 5}


OTHER = (
    "import sys; from transceiver.signaling.ledger import Kind, map_ledger;"
    "fd, rows, row = map(int, sys.argv[1:]);"
    "map_ledger(fd, rows, row).put(3, Kind.TAKEN, 1 << 40)"
)


def test_another_process_sees_it() -> None:
    memory = open_memory(2)
    try:
        here = map_ledger(memory, 2, 0)
        here.put(3, Kind.TAKEN, 1)
        subprocess.run([sys.executable, "-c", OTHER, str(memory), "2", "1"], pass_fds=[memory], check=True)
    finally:
        os.close(memory)
    assert here.total(3, Kind.TAKEN) == (1 << 40) + 1


def test_a_name_keeps_its_slot() -> None:
    book = SlotBook()
    assert book.assign(["a", "b"]) == [0, 1]
    assert book.assign(["c", "b"]) == [2, 1]
    assert book.assign(["a", "c"]) == [0, 2]


def test_when_there_are_no_more_the_one_that_was_gone_for_longest_gives_way() -> None:
    book = SlotBook()
    for number in range(SLOTS - 1):
        book.assign([f"old-{number}", "kept"])
    assert book.assign(["kept"]) == [1]
    [slot] = book.assign(["new"])
    assert slot == 0
    assert book.assign(["old-0", "kept"])[1] == 1


@pytest.mark.parametrize("count", [256, SLOTS])
def test_as_many_as_there_may_be(count: int) -> None:
    assert len(set(SlotBook().assign(f"key-{number}" for number in range(count)))) == count

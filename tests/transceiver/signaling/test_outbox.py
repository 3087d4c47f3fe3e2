"""Bounded by number and by size, and never in anybody's way."""

from __future__ import annotations

import asyncio

import pytest

from transceiver.signaling.outbox import MAX_CHARS, MAX_TEXTS, Outbox


class Connection:
    """Counts how often it was ended."""

    def __init__(self) -> None:
        self.aborted = 0

    def abort(self) -> None:
        self.aborted += 1


async def drain(outbox: Outbox) -> list[str]:
    taken = []
    while (text := await outbox.next()) is not None:
        taken.append(text)
    return taken


def test_texts_leave_in_their_order_and_what_was_taken_is_sent_after_the_end() -> None:
    outbox = Outbox(Connection().abort)
    for number in range(3):
        assert outbox.show(str(number))
    outbox.end()
    assert outbox.is_over
    assert not outbox.show("too late")
    assert asyncio.run(drain(outbox)) == ["0", "1", "2"]
    assert not outbox.is_too_slow


def test_who_sends_waits_for_a_text_and_for_the_end() -> None:
    async def scenario() -> None:
        outbox = Outbox(Connection().abort)
        waiting = asyncio.create_task(drain(outbox))
        await asyncio.sleep(0)
        assert outbox.show("a")
        await asyncio.sleep(0)
        assert not waiting.done()
        outbox.end()
        assert await waiting == ["a"]

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("text", "room"),
    [("x", MAX_TEXTS), ("x" * (MAX_CHARS // 4), 4)],
    ids=["many", "long"],
)
def test_one_that_takes_nothing_is_given_up_at_the_mark(text: str, room: int) -> None:
    connection = Connection()
    outbox = Outbox(connection.abort)
    assert [outbox.show(text) for _ in range(room + 1)] == [True] * room + [False]
    assert (outbox.is_too_slow, outbox.is_over, connection.aborted) == (True, True, 1)
    assert not outbox.show("more")
    assert asyncio.run(drain(outbox)) == [], "what waited is let go of"


def test_room_comes_back_with_what_is_taken() -> None:
    async def scenario() -> None:
        outbox = Outbox(Connection().abort)
        half = "x" * (MAX_CHARS // 2)
        for _ in range(6):
            assert outbox.show(half)
            assert await outbox.next() == half
        assert not outbox.is_too_slow

    asyncio.run(scenario())

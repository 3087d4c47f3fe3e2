"""Two marks, and who waits at them."""

from __future__ import annotations

import asyncio

from transceiver.backends.server.outbox import ENOUGH_CHARS, MOST_CHARS, Outbox

TENTH = {"type": "x" * (ENOUGH_CHARS // 10)}


def test_messages_leave_in_their_order() -> None:
    outbox = Outbox()
    for number in range(3):
        outbox.put({"type": "n", "n": number})
    taken = [outbox.take() for _ in range(4)]
    assert taken == ['{"type":"n","n":0}', '{"type":"n","n":1}', '{"type":"n","n":2}', None]


def test_who_makes_more_waits_until_enough_was_read() -> None:
    async def scenario() -> None:
        outbox = Outbox()
        for _ in range(10):
            outbox.put(TENTH)
        assert outbox.is_full()
        waiting = asyncio.create_task(outbox.emptied())
        await asyncio.sleep(0)
        assert not waiting.done()
        outbox.take()
        await waiting
        assert not outbox.is_full()

    asyncio.run(scenario())


def test_who_sends_waits_until_there_is_something() -> None:
    async def scenario() -> None:
        outbox = Outbox()
        waiting = asyncio.create_task(outbox.filled())
        await asyncio.sleep(0)
        assert not waiting.done()
        outbox.put(TENTH)
        await waiting

    asyncio.run(scenario())


def test_beyond_the_second_mark_nothing_is_kept() -> None:
    outbox = Outbox()
    for _ in range(2 * MOST_CHARS // len(TENTH["type"])):
        outbox.put(TENTH)
    assert outbox.has_overflowed
    taken = 0
    while (message := outbox.take()) is not None:
        taken += len(message)
    assert MOST_CHARS - ENOUGH_CHARS < taken <= MOST_CHARS

"""Stages of an answer, and frames of a turn."""

from __future__ import annotations

import asyncio

from transceiver.backends.clerk.turn import MAX_FRAMES, Stages, Turn
from transceiver.media import FRAME_BYTES

MS = 1_000_000


def test_stages_add_up() -> None:
    stages = Stages(1_000 * MS, 1_200 * MS, 1_250 * MS, 1_251 * MS, 1_300 * MS)
    assert stages.wire() == {
        "end_of_turn": 200.0,
        "recognition": 50.0,
        "reply": 1.0,
        "speech": 49.0,
        "total": 300.0,
    }


def test_a_stage_that_was_not_takes_no_time() -> None:
    assert Stages(None, 100 * MS, None, 103 * MS, None).wire() == {"reply": 3.0, "total": 3.0}
    assert Stages().wire() == {}


def test_who_recognises_waits_for_frames_and_for_the_end() -> None:
    async def scenario() -> None:
        turn = Turn("item")
        waiting = asyncio.create_task(turn.beyond(0))
        await asyncio.sleep(0)
        assert not waiting.done()
        turn.append(bytes(FRAME_BYTES))
        await waiting
        waiting = asyncio.create_task(turn.beyond(1))
        await asyncio.sleep(0)
        turn.end()
        await waiting
        assert turn.is_over

    asyncio.run(scenario())


def test_a_turn_is_bounded() -> None:
    turn = Turn("item")
    for _ in range(MAX_FRAMES + 10):
        turn.append(bytes(FRAME_BYTES))
    assert len(turn.frames) == MAX_FRAMES

"""One utterance on its way from the caller to the recogniser, and when each stage was done."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from transceiver.media import FRAME_MS
from transceiver.realtime.event import Event

MAX_FRAMES: Final = 30_000 // FRAME_MS
"""An utterance is heard for 30 s; what comes after that in it is not."""
NS_PER_MS = 1_000_000


@dataclass(slots=True)
class Stages:
    """Monotonic nanoseconds; None where it was not."""

    speech_ended_ns: int | None = None
    """The last frame that was speech was heard."""
    turn_ended_ns: int | None = None
    recognised_ns: int | None = None
    replied_ns: int | None = None
    spoken_ns: int | None = None
    """The first audio of the answer was there."""

    def wire(self) -> dict[str, object]:
        """Milliseconds of each stage, of which the sum is `total`."""
        order = (
            ("end_of_turn", self.turn_ended_ns),
            ("recognition", self.recognised_ns),
            ("reply", self.replied_ns),
            ("speech", self.spoken_ns),
        )
        before, told = self.speech_ended_ns, {}
        for name, at in order:
            if at is not None and before is not None:
                told[name] = round((at - before) / NS_PER_MS, 1)
            before = at if at is not None else before
        first = next((at for at in (self.speech_ended_ns, *(at for _, at in order)) if at is not None), None)
        if before is not None and first is not None:
            told["total"] = round((before - first) / NS_PER_MS, 1)
        return dict(told)


class Turn:
    """What a caller says until it is committed. Its frames are kept, so that they can be heard again."""

    def __init__(self, item_id: str) -> None:
        self.item_id = item_id
        self.stages = Stages()
        self.wants_answer = False
        self.request: Event | None = None
        """The `response.create` that wants it, where there was one."""
        self.is_heard = True
        """Whether somebody recognises it."""
        self.is_forgotten = False
        self.is_over = False
        self.frames: list[bytes] = []
        self._changed = asyncio.Event()

    def append(self, pcm: bytes) -> None:
        """20 ms more."""
        if len(self.frames) < MAX_FRAMES:
            self.frames.append(pcm)
            self._changed.set()

    def end(self) -> None:
        """It is committed, or forgotten."""
        self.is_over = True
        self._changed.set()

    async def beyond(self, count: int) -> None:
        """Until there are more frames than `count`, or no more will come."""
        while len(self.frames) <= count and not self.is_over:
            self._changed.clear()
            await self._changed.wait()

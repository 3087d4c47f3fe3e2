"""Callers of a soak: they come and go, speak, hear answers out or break into them, one after the other in
each of some seats. Two seats are kept by callers who stay to the end: of those the clock is watched.
"""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

import aiohttp

from tests.sound import frames, speech
from transceiver.caller.api import SignalingClient, calls_url
from transceiver.caller.call import Call
from transceiver.caller.conversation import Conversation
from transceiver.caller.errors import CallError
from transceiver.caller.gaps import SEQUENCE_NUMBERS, AudioGaps
from transceiver.media import FRAME_MS
from transceiver.media.ticker import Ticker
from transceiver.transport.certificate import Certificate

STAY_S = (10.0, 60.0)
"""Of who comes and goes."""
LASTING: Final = 2
SPEECH: Final = frames(speech())
BREAKS_IN: Final = 1 / 3
"""Of answers."""
HEARD_FRAMES = (10, 40)
"""Of an answer that is broken into: 0.2 to 0.8 s."""
SPREAD_S: Final = 0.2
"""Between the first calls."""
MS: Final = 1_000_000


class Talk(Conversation):
    """What one caller says: the sentence, over and over, and at times right into the answer."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__(SPEECH, None)
        self.interruptions = 0
        self._random = chance
        self._bears = self._patience()

    def _patience(self) -> int | None:
        """How many audible frames of an answer are heard out; None for all."""
        return self._random.randint(*HEARD_FRAMES) if self._random.random() < BREAKS_IN else None

    def tick(self, heard: bytes | None, now_ns: int, arrived_ns: int | None = None) -> bytes | None:
        """See Conversation."""
        turns = len(self.turns)
        said = super().tick(heard, now_ns, arrived_ns)
        if len(self.turns) != turns:
            self._bears = self._patience()
        turn = self.turns[-1] if self.turns else None
        if (
            said is None
            and turn is not None
            and self._bears is not None
            and turn.answer_frames >= self._bears
        ):
            self._bears = None
            self.interruptions += 1
            self._end_turn()
        return said


class Clock(AudioGaps):
    """How far the media of a call are behind the clock here, by the number of each packet and its arrival.

    A packet is never early, so the least delay of some seconds is that of the way, and what that grows by is
    drift: of the far end's clock, or packets that it has left out.
    """

    WINDOW_NS: Final = 5_000 * MS

    def __init__(self) -> None:
        super().__init__()
        self._numbers: int | None = None
        self._first_ns = self._window_ns = 0
        self._least: int | None = None
        self._minima: list[int] = []

    def packet(self, sequence: int, now_ns: int) -> None:
        """See AudioGaps."""
        super().packet(sequence, now_ns)
        if self._numbers is None:
            self._numbers, self._start = 0, sequence
            self._first_ns = self._window_ns = now_ns
        ahead = (sequence - self._start - self._numbers) % SEQUENCE_NUMBERS
        if ahead >= SEQUENCE_NUMBERS // 2:
            return
        self._numbers += ahead
        late_ns = now_ns - self._first_ns - self._numbers * FRAME_MS * MS
        self._least = late_ns if self._least is None else min(self._least, late_ns)
        if now_ns - self._window_ns >= self.WINDOW_NS:
            self._minima = [*self._minima[:1], self._least]
            self._least, self._window_ns = None, now_ns

    @property
    def drift_ms(self) -> float | None:
        """From the first seconds to the last; None where there were too few of them."""
        return (self._minima[-1] - self._minima[0]) / MS if len(self._minima) == 2 else None


@dataclass(slots=True)
class Tally:
    """Of all callers, so far."""

    calls: int = 0
    answers: int = 0
    unanswered: int = 0
    interruptions: int = 0
    failed: list[str] = field(default_factory=list)
    """Why calls did not come about or broke off; the first 100."""
    drift_ms: list[float] = field(default_factory=list)
    """Of the calls that stayed."""

    def fail(self, words: str) -> None:
        """One more."""
        if len(self.failed) < 100:
            self.failed.append(words)


class Crowd:
    """All seats."""

    def __init__(self, url: str, http: aiohttp.ClientSession, seed: int) -> None:
        self._api = SignalingClient(http, calls_url(url), None)
        self._ticker = Ticker()
        self._certificate = Certificate.generate()
        self._random = random.Random(seed)
        self.now = 0
        """Calls that are under way."""
        self.tally = Tally()

    async def sit(self, seats: int, seconds: float) -> None:
        """Fill so many seats for so long. May be cancelled: everybody hangs up."""
        until_s = time.monotonic() + seconds
        async with asyncio.TaskGroup() as group:
            for seat in range(seats):
                group.create_task(self._seat(seat, until_s))
                await asyncio.sleep(SPREAD_S)

    def close(self) -> None:
        """Stop the clock."""
        self._ticker.close()

    async def _seat(self, seat: int, until_s: float) -> None:
        while (left_s := until_s - time.monotonic()) > 0:
            lasts = seat < LASTING
            await self.call(left_s if lasts else min(left_s, self._random.uniform(*STAY_S)), lasts=lasts)

    async def call(self, seconds: float, *, lasts: bool = False) -> None:
        """One call from its offer to its end."""
        call = Call(self._api, self._ticker, self._certificate, heard_frames=0)
        clock, talk = Clock(), Talk(random.Random(self._random.random()))
        self.tally.calls += 1
        self.now += 1
        try:
            await call.connect()
            assert call.transport is not None
            call.transport.gaps = clock
            call.conversation = talk
            await call.run_for(seconds)
        except CallError as error:
            self.tally.fail(str(error))
        finally:
            self.now -= 1
            with suppress(asyncio.CancelledError):
                await asyncio.shield(call.hang_up())
            self._count(talk, clock if lasts else None)

    def _count(self, talk: Talk, clock: Clock | None) -> None:
        done = talk.turns[:-1]  # of the last one the end was not waited for
        self.tally.answers += sum(turn.answer_ns is not None for turn in done)
        self.tally.unanswered += sum(turn.answer_ns is None for turn in done)
        self.tally.interruptions += talk.interruptions
        if clock is not None and clock.drift_ms is not None:
            self.tally.drift_ms.append(clock.drift_ms)
